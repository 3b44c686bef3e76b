"""`python -m evalsuite` is the `evalsuite` command."""

from evalsuite.cli import main

main()
