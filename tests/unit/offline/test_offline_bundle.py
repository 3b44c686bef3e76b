"""The installer for closed networks: nothing is installed unless every file is what it was when the folder was made."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "sha256sum", "comm"))), reason="bash or the core utilities are not here"
)

# Stands in for Python: says its version as the real one does, and makes an "environment" that notes what it is told.
STUB = f"""\
#!/bin/sh
if [ "$1" = -c ]; then exec {sys.executable} "$@"; fi
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$(dirname "$0")/evalsuite" "$3/bin/evalsuite"
fi
echo "$*" >> "$(dirname "$0")/told.txt"
exit "${{STUB_PIP:-0}}"
"""


def bundle_module():
    spec = importlib.util.spec_from_file_location("offline_bundle", CHECKOUT / "offline" / "bundle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(tmp_path):
    out = tmp_path / "bundle"
    (out / "wheels").mkdir(parents=True)
    for name in ("small_thing-1.0-py3-none-any.whl", "torch-2.0.0+cpu-py3-none-any.whl"):
        with zipfile.ZipFile(out / "wheels" / name, "w") as wheel:
            head = "Metadata-Version: 2.1\nName: x\nLicense-Expression: MIT\n\nText: not a header"
            wheel.writestr("x-1.0.dist-info/METADATA", head)
    bundle_module().finish(out)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("python", STUB), ("evalsuite", "#!/bin/sh\nexit ${STUB_DOCTOR:-0}\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return out


def install(bundle: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    into = bundle.parent / "env"
    command = [bundle / "install.sh", "--into", into, "--python", bundle.parent / "tools" / "python", *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **env}, cwd=bundle.parent
    )


def test_a_sound_bundle_is_installed_from_its_own_wheels_and_nothing_else(bundle):
    done = install(bundle, "--expect", hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest())
    assert done.returncode == 0, done.stderr
    told = (bundle.parent / "env" / "bin" / "told.txt").read_text()
    for option in ("--no-index", f"--find-links {bundle}/wheels", "--no-deps", "--require-hashes", "pip check"):
        assert option in told
    pinned = (bundle / "requirements.txt").read_text().splitlines()
    assert [line.split(" --hash")[0] for line in pinned] == ["small-thing==1.0", "torch==2.0.0+cpu"]
    assert [w["license"] for w in json.loads((bundle / "manifest.json").read_text())["wheels"]] == ["MIT", "MIT"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: (b / "wheels/small_thing-1.0-py3-none-any.whl").write_bytes(b"PK"), "small_thing"),
        (lambda b: (b / "wheels/small_thing-1.0-py3-none-any.whl").unlink(), "small_thing"),
        (lambda b: (b / "wheels/other-1.0-py3-none-any.whl").write_bytes(b"PK"), "do not belong here: wheels/other"),
        (lambda b: (b / "requirements.txt").write_text("other==1.0\n"), "requirements.txt"),
        (lambda b: (b / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
    ],
    ids=["changed", "missing", "extra", "requirements", "no sums"],
)
def test_a_bundle_that_is_not_as_it_was_made_installs_nothing(bundle, change, words):
    change(bundle)
    done = install(bundle)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Nothing was installed" in done.stderr
    assert not (bundle.parent / "env").exists()


def test_another_digest_another_python_or_a_folder_in_use_stop_it(bundle):
    assert "not the expected one" in install(bundle, "--expect", "0" * 64).stderr
    (bundle.parent / "env").mkdir()
    assert "exists already" in install(bundle).stderr
    (bundle / "python-version.txt").write_text("2.7\n")
    sums = (bundle / "SHA256SUMS").read_text().splitlines()
    new = hashlib.sha256(b"2.7\n").hexdigest()
    lines = [f"{new}  python-version.txt" if s.endswith("python-version.txt") else s for s in sums]
    (bundle / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    assert "is not Python 2.7 with venv" in install(bundle).stderr


def test_a_wheel_that_pip_refuses_leaves_nothing_behind_and_a_missing_library_is_said(bundle):
    told = install(bundle, STUB_DOCTOR="2")
    assert (told.returncode, "libpango-1.0-0" in told.stderr) == (3, True)
    shutil.rmtree(bundle.parent / "env")
    stub = bundle.parent / "tools" / "python"
    stub.write_text(stub.read_text().replace('echo "$*"', '[ "$2" != pip ] || exit 1; echo "$*"'))
    done = install(bundle)
    assert (done.returncode, "pip refused a wheel" in done.stderr) == (1, True)
    assert not (bundle.parent / "env").exists()
