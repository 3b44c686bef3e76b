"""The wheel carries the same protocols, templates and styles as the checkout, and works from where it was unpacked."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def unpacked(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents in a folder of their own."""
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(checkout)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wheel = next(out.glob("*.whl"))
    site = out / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "__pycache__" not in p.parts
    }


@pytest.mark.parametrize("part", ["protocols", "reports/templates", "reports/style"])
def test_bundled_files_are_those_of_the_checkout(unpacked, checkout, part):
    found = _tree(unpacked / "evalsuite" / "_bundled" / part)
    assert found
    assert found == _tree(checkout / part)


def test_the_wheel_works_in_a_fresh_environment(unpacked, tmp_path):
    """A new virtual environment with the wheel and its dependencies, and without the checkout."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    # The dependencies come from this environment; a path file there is not read, so its editable checkout stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for part in unpacked.iterdir():
        shutil.copytree(part, site / part.name)

    def run(*arguments: str) -> str:
        done = subprocess.run([python, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(
        "-c", "import evalsuite, evalsuite.resources as r; print(evalsuite.__file__); print(r.bundled('protocols'))"
    )
    assert all(Path(line).is_relative_to(site) for line in where.split())
    run("-m", "evalsuite", "init", "study")
    assert (tmp_path / "study" / "protocol.yaml").is_file()
    assert "generic_binary_standalone" in run("-m", "evalsuite", "list", "protocols")
