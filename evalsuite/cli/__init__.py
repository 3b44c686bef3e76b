"""The command line: parse, call the spine, draw progress, print, exit code."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of the `evalsuite` command."""
    from evalsuite.cli.app import start

    start()
