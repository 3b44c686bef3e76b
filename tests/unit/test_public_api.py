"""What `import evalsuite` gives, and what it does not load."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import evalsuite


def test_every_public_name_exists():
    for name in evalsuite.__all__:
        assert getattr(evalsuite, name) is not None, name
    assert len(evalsuite.__all__) <= 20


def test_no_public_name_is_hidden_by_a_module_of_the_same_name():
    """Importing a submodule sets it as an attribute of the package, and would then win over the lazy name."""
    modules = {m.name for m in pkgutil.iter_modules(evalsuite.__path__)}
    assert not modules & set(evalsuite.__all__)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(evalsuite, "no_such_thing")


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, evalsuite; "
        "heavy = {'torch', 'pandas', 'weasyprint', 'monai', 'numpy', 'pydantic'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_showing_help_loads_no_torch():
    code = (
        "import sys; from evalsuite.cli.app import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(', '.join(sorted({'torch', 'pandas', 'weasyprint'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
