"""What the box is made of, and the reasons a machine may have no sandbox."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from evalsuite.errors import SandboxUnavailable
from evalsuite.sandbox import launcher
from evalsuite.sandbox.launcher import (
    Box,
    Bubblewrap,
    arguments_of,
    environment_of,
    require_bubblewrap,
    runtime_folders,
)

ANY = Bubblewrap(program="/usr/bin/bwrap", version="0.8.0", own_proc=True)


@pytest.fixture
def examined():
    """Forget what was found out about this machine, before and after."""
    launcher._examine.cache_clear()
    yield
    launcher._examine.cache_clear()


def test_a_machine_without_bubblewrap_is_told_what_to_install(examined, monkeypatch) -> None:
    monkeypatch.setattr(launcher.shutil, "which", lambda name: None)
    with pytest.raises(SandboxUnavailable, match="bubblewrap is not installed") as caught:
        require_bubblewrap()
    assert caught.value.exit_code == 2
    assert "apt install bubblewrap" in caught.value.hint
    assert "--unsandboxed" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\necho bubblewrap 0.6.1\n", "0.7 or newer is needed, this is bubblewrap 0.6.1"),
        (
            '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit\n'
            "echo bwrap: No permissions to create new namespace >&2; exit 1\n",
            "does not let bubblewrap make one (bwrap: No permissions to create new namespace)",
        ),
        ("#!/bin/sh\nexit 0\n", "this is unknown"),
    ],
)
def test_one_that_is_too_old_or_not_allowed_is_told_so(examined, tmp_path: Path, monkeypatch, text, said) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(text)
    fake.chmod(0o755)
    monkeypatch.setattr(launcher.shutil, "which", lambda name: str(fake))
    with pytest.raises(SandboxUnavailable) as caught:
        require_bubblewrap()
    assert said in caught.value.message


def test_only_settings_of_speed_and_bits_go_in(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("HOME", "/home/ada")
    found = environment_of(Box(environment={"EXTRA": "1"}))
    assert (found["OMP_NUM_THREADS"], found["EXTRA"]) == ("3", "1")
    assert "canary" not in found.values()
    assert "/home/ada" not in found.values()


def test_the_runtime_is_python_its_packages_and_this_suite_alone() -> None:
    folders = runtime_folders()
    assert any(launcher.SUITE.is_relative_to(f) for f in (*folders, Path("/usr")))
    assert not {Path("/"), Path.home(), Path("/home"), Path("/etc"), Path("/tmp")} & set(folders)
    assert not any(a != b and a.is_relative_to(b) for a in folders for b in folders)


def test_packages_are_bound_read_only_and_the_rest_is_closed(tmp_path: Path) -> None:
    said = " ".join(arguments_of(Box(read_only={tmp_path: Path("/package")}, accelerator=False), ANY))
    assert f"--ro-bind {tmp_path} /package" in said
    assert "--unshare-all" in said
    assert "--share-net" not in said
    assert "/dev/nvidia" not in said
    assert said.endswith("--remount-ro / --chdir /tmp")
    without = arguments_of(Box(), Bubblewrap(program="bwrap", version="1", own_proc=False))
    assert "--proc" not in without


def test_where_a_second_proc_is_forbidden_the_sandbox_does_without(examined, tmp_path: Path, monkeypatch) -> None:
    try:
        real = require_bubblewrap()
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    launcher._examine.cache_clear()
    fake = tmp_path / "bwrap"
    fake.write_text(
        '#!/bin/sh\nfor a in "$@"; do [ "$a" = --proc ] && echo "bwrap: Can\'t mount proc" >&2 && exit 1; done\n'
        f'exec {real.program} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(launcher.shutil, "which", lambda name: str(fake))
    found = require_bubblewrap()
    assert not found.own_proc
    started = launcher.launch(["/usr/bin/env", "ls", "/proc"], Box(accelerator=False), sandbox=found)
    with started.output:
        assert started.output.read() == b""
    assert started.process.wait() == 0


def test_version_is_bubblewraps_own() -> None:
    try:
        found = require_bubblewrap()
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    said = subprocess.run([found.program, "--version"], capture_output=True, text=True, check=True).stdout
    assert found.version in said
