import getpass
import re
import socket
import subprocess
import sys

from evalsuite.record.canonical import canonical_json
from evalsuite.record.environment import environment, packages


def test_names_versions_and_no_host_or_user():
    found = environment()
    assert found["python"].startswith("3.")
    assert found["n_cpu"] >= 1
    assert found["packages"]["numpy"]
    assert "pytest" not in found["packages"]
    assert "user" not in found
    text = canonical_json(found).decode()
    # A whole word: a short name such as "vm" is also part of a package's name.
    assert not re.search(rf"(?<![\w.-]){re.escape(socket.gethostname())}(?![\w.-])", text)
    assert environment(person=True)["user"] == getpass.getuser()


def test_packages_of_something_that_is_not_installed():
    assert "no-such-package" not in packages("no-such-package")


def test_torch_is_not_loaded_unasked():
    code = (
        "import sys; from evalsuite.record.environment import environment; "
        "e = environment(); sys.exit(e['torch'] is not None or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
