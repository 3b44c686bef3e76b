"""A package's own program in the sandbox: the same answers, and nothing beyond its three folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalsuite.errors import EvalsuiteError, ModelRunError
from evalsuite.sandbox.launcher import require_bubblewrap
from evalsuite.sandbox.open import open_model
from evalsuite.sandbox.policy import UNSANDBOXED, Limits, Sandbox
from evalsuite.sandbox.watch import pid_alive

PROGRAM = """
import glob, json, os, socket, sys
source, target = sys.argv[1], sys.argv[2]
tried = {}
def attempt(name, action):
    try:
        action(); tried[name] = "done"
    except Exception as error:
        tried[name] = type(error).__name__
attempt("secret", lambda: open(%(secret)r).read())
attempt("passwd", lambda: open("/etc/shadow").read())
attempt("outside", lambda: open(%(outside)r, "w").write("x"))
attempt("input", lambda: open(source + "/new", "w").write("x"))
attempt("package", lambda: open(os.path.dirname(__file__) + "/new", "w").write("x"))
attempt("network", lambda: socket.create_connection(("127.0.0.1", %(port)d), timeout=5))
attempt("child", lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0))
if %(mode)r == "fill":
    for i in range(1000):
        with open(f"{target}/{i}", "wb") as file:
            file.write(bytes(2**20))
    import time; time.sleep(300)
if %(mode)r == "hang":
    import time; time.sleep(300)
if %(mode)r == "stay" and os.fork() == 0:
    import time; os.setsid(); time.sleep(300)
cases = json.load(open(source + "/cases.json"))["cases"]
json.dump([{"case": c["case"], "p_x": 0.25} for c in cases], open(target + "/predictions.json", "w"))
json.dump({**tried, "env": sorted(os.environ)}, open(target + "/tried.json", "w"))
"""


@pytest.fixture(autouse=True)
def _there_is_a_sandbox():
    try:
        require_bubblewrap()
    except EvalsuiteError as error:
        pytest.skip(f"no sandbox here: {error.message}")


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path, Path]:
    package, cases, answers = (tmp_path / name for name in ("package", "cases", "answers"))
    for folder in (package, cases, answers):
        folder.mkdir()
    (tmp_path / "secret").write_text("the reference standard")
    (cases / "cases.json").write_text(json.dumps({"cases": [{"case": "000001", "images": {}}]}))
    return package, cases, answers


def runner(package: Path, *, mode: str = "", port: int = 9, sandbox: Sandbox | None = None, **changes: object):
    facts = {
        "secret": str(package.parent / "secret"), "outside": str(package.parent / "outside"), "port": port,
        "mode": mode,
    }  # fmt: skip
    (package / "run.py").write_text(PROGRAM % facts)
    contract = {
        "schema": "evalsuite/model/1",
        "inputs": [{"name": "image", "shape": [1, None, None]}],
        "outputs": [{"name": "x", "classes": ["x"]}],
        "cmd": ["{python}", "-I", "-S", "{package}/run.py", "{input}", "{output}"],
        **changes,
    }
    (package / "evalsuite-model.yaml").write_text(json.dumps(contract))
    return open_model(package, **({} if sandbox is None else {"sandbox": sandbox})).runner


def test_it_answers_and_reaches_nothing_else(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    import socket

    package, cases, answers = folders
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = runner(package, port=listening.getsockname()[1])
        made.run(cases, answers, log=tmp_path / "log")
    assert json.loads((answers / "predictions.json").read_text()) == [{"case": "000001", "p_x": 0.25}]
    tried = json.loads((answers / "tried.json").read_text())
    assert "SECRET_TOKEN" not in tried.pop("env")
    assert tried.pop("child") == "done"
    assert "done" not in tried.values(), tried
    assert made.isolation["name"] == "bubblewrap"
    assert not (tmp_path / "outside").exists()


def test_without_the_sandbox_it_has_all_rights_and_the_record_says_none(folders, tmp_path):
    package, cases, answers = folders
    made = runner(package, sandbox=UNSANDBOXED)
    made.run(cases, answers, log=tmp_path / "log")
    assert json.loads((answers / "tried.json").read_text())["secret"] == "done"
    assert made.isolation == "none"


@pytest.mark.parametrize(
    ("mode", "said"), [("hang", "took longer than 3 s for one call and was ended"), ("fill", "wrote more than 8 MiB")]
)
def test_too_long_and_too_much_are_typed(folders, tmp_path, mode, said):
    package, cases, answers = folders
    limits = Sandbox(limits=Limits(tmp_bytes=2**23))
    made = runner(package, mode=mode, sandbox=limits, timeout_s=3 if mode == "hang" else 600)
    with pytest.raises(ModelRunError, match=said):
        made.run(cases, answers, log=tmp_path / "log")


def test_what_it_leaves_behind_is_ended_with_it(folders, tmp_path):
    package, cases, answers = folders
    mark = f"marked-by-{tmp_path.name}-{os.getpid()}"
    command = ["{python}", "-I", "-S", "{package}/run.py", "{input}", "{output}", mark]
    runner(package, mode="stay", cmd=command).run(cases, answers, log=tmp_path / "log")
    assert not [p for p in Path("/proc").iterdir() if p.name.isdigit() and _runs(p, mark)]


def test_nothing_of_it_runs_where_it_is_not_watched(folders, tmp_path, monkeypatch):
    from evalsuite.sandbox import command

    package, cases, answers = folders
    started = []

    def no_watch(init: int, limits: Limits) -> None:
        started.append(init)
        raise RuntimeError("ended here")

    made = runner(package)
    monkeypatch.setattr(command, "Watch", no_watch)
    with pytest.raises(RuntimeError, match="ended here"):
        made.run(cases, answers, log=tmp_path / "log")
    assert not pid_alive(started[0])
    assert not any(answers.iterdir())


@pytest.mark.parametrize("word", [b"g", b""])
def test_a_program_whose_suite_ends_before_the_word_never_begins(tmp_path, word):
    from evalsuite.sandbox.command import _START

    mark = tmp_path / "began"
    waits, says = os.pipe()
    os.write(says, word)
    os.close(says)
    begin = [sys.executable, "-I", "-S", "-c", _START, str(waits), "[]", "touch", str(mark)]
    ended = subprocess.run(begin, pass_fds=(waits,), capture_output=True, text=True, check=False)
    os.close(waits)
    assert mark.exists() == (word == b"g")
    assert (ended.returncode, ended.stderr) == ((0, "") if word else (1, "nobody watches\n"))


def _runs(process: Path, text: str) -> bool:
    try:
        return os.fsencode(text) in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_a_program_that_is_not_there(folders, tmp_path):
    package, cases, answers = folders
    made = runner(package, cmd=["no-such-program"])
    with pytest.raises(ModelRunError, match="no-such-program cannot be started: No such file"):
        made.run(cases, answers, log=tmp_path / "log")
