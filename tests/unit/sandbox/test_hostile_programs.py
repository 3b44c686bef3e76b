"""What a hostile package may try, and that it gets nowhere. Every attempt is harmless even without a sandbox."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evalsuite.errors import Interrupted, ModelRunError
from evalsuite.sandbox.process import ChildProcess
from evalsuite.sandbox.watch import pid_alive, tree

PATIENT_S = 300.0
Start = Callable[..., ChildProcess]

SNOOP = """
import ctypes, os, pathlib, signal, socket, subprocess, threading

def attempt(action):
    try:
        return f"DONE {action()!r}"[:200]
    except OSError as error:
        return f"refused {type(error).__name__}"

def go(state, asked):
    at = asked.header
    read = {path: attempt(lambda: open(path, "rb").read(1)) for path in at["read"]}
    listed = {path: attempt(lambda: sorted(os.listdir(path))) for path in at["list"]}
    write = {path: attempt(lambda: open(path, "ab").write(b"x")) for path in at["write"]}
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    def connect(family, kind, address):
        with socket.socket(family, kind) as s:
            s.settimeout(5)
            s.connect(address)
            return s.send(b"x")
    reach = {
        "tcp": attempt(lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", at["port"]))),
        "udp": attempt(lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", at["port"]))),
        "tcp6": attempt(lambda: connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", at["port"]))),
        "dns": attempt(lambda: socket.getaddrinfo("example.org", 80)),
        "abstract": attempt(lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, at["abstract"].encode())),
        "netlink": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()),
        "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM).close()),
    }
    others = {
        "signal": attempt(lambda: os.kill(at["parent"], 0)),
        "fork": attempt(os.fork),
        "program": attempt(lambda: subprocess.run(["/usr/bin/env", "true"])),
        "root": attempt(lambda: os.setuid(0)),
        "hidden memory": attempt(lambda: os.memfd_create("x")),
        "device": attempt(lambda: os.mknod("/tmp/disk", 0o600 | 0o060000, os.makedev(8, 0))),
        "name": attempt(lambda: socket.sethostname("other")),
        "disk": attempt(lambda: [open(f"/tmp/{i}", "wb").write(bytes(2**20)) for i in range(12)]),
    }
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    return {
        "read": read, "list": listed, "write": write, "reach": reach, "others": others,
        "pids": [int(p) for p in os.listdir("/proc") if p.isdigit()], "environment": dict(os.environ),
        "capabilities": status["CapEff"].strip(), "no_new_privileges": status["NoNewPrivs"].strip(),
        "links": [[str(p), attempt(p.read_bytes)] for p in pathlib.Path("/package").glob("link*")],
    }, b""

OPERATIONS = {"go": go}
"""


def test_it_reads_writes_and_reaches_nothing_of_this_machine(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    secrets = tmp_path / "set"
    secrets.mkdir()
    (secrets / "reference.parquet").write_text("labels")
    abstract = f"\0evalsuite-test-{os.getpid()}"
    import evalsuite

    suite = Path(evalsuite.__file__)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local,
    ):
        local.bind(abstract)
        local.listen()
        process = start(SNOOP, tmp_bytes=8 * 2**20)
        package = tmp_path / "package-0"
        (package / "link-to-reference").symlink_to(secrets / "reference.parquet")
        (package / "link-to-passwd").symlink_to("/etc/passwd")
        question = {
            "do": "go",
            "port": server.getsockname()[1],
            "abstract": abstract,
            "parent": os.getpid(),
            "read": ["/etc/passwd", "/etc/shadow", "/etc/hostname", str(secrets / "reference.parquet"), str(__file__)],
            "list": [str(secrets), str(tmp_path), "/home", "/etc", "/var", "/run"],
            "write": [
                "/package/program.py", "/new", "/etc/new", "/dev/new", "/usr/new", str(suite),
                str(suite.parent / "new"), str(secrets / "new"),
            ],
        }  # fmt: skip
        found = process.ask(question, timeout_s=PATIENT_S, doing="a batch").header
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    for part in ("read", "write", "reach", "others"):
        done = {name: said for name, said in found[part].items() if not said.startswith("refused")}
        assert done == {}, part
    assert set(found["list"].values()) <= {
        "refused FileNotFoundError",
        "DONE ['alternatives', 'ld.so.cache']",
    }
    assert len(found["links"]) == 2
    assert all(said == "refused FileNotFoundError" for _, said in found["links"])
    assert "canary" not in str(found["environment"])
    assert max(found["pids"]) < 10
    assert (found["capabilities"], found["no_new_privileges"]) == ("0" * 16, "1")
    assert sorted(p.name for p in secrets.iterdir()) == ["reference.parquet"]


def ended(
    process: ChildProcess, *, timeout_s: float = PATIENT_S, should_stop: Callable[[], bool] | None = None
) -> ModelRunError:
    """The error of a model that does not come back."""
    with pytest.raises(ModelRunError) as caught:
        process.ask({"do": "go"}, timeout_s=timeout_s, doing="a batch of 1", should_stop=should_stop)
    assert "hostile" in caught.value.message  # which model did it
    with pytest.raises(ModelRunError):  # and it is gone for good
        process.ask({"do": "go"}, timeout_s=timeout_s, doing="a batch of 1")
    return caught.value


def program(*lines: str) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    head = "import ctypes, mmap, os, signal, sys, threading, time\ndef go(state, asked):\n"
    return f"{head}{body}OPERATIONS = {{'go': go}}\n"


LIBC = "libc = ctypes.CDLL(None, use_errno=True)"
ENDS = {
    "a crash": (["os.kill(os.getpid(), signal.SIGSEGV)", "time.sleep(60)"], "crash", "SIGSEGV"),
    "an abort": (["os.abort()"], "crash", "SIGABRT"),
    "leaving": (["print('had enough', flush=True)", "os._exit(3)"], "crash", "exit code 3; it said: had enough"),
    "leaving politely": (["sys.exit()"], "crash", "exit code 0"),
    "tracing": ([LIBC, "libc.ptrace(0, 0, 0, 0)", "return {}, b''"], "forbidden", "may not do"),
    "mounting": ([LIBC, "libc.mount(b'', b'/tmp', b'none', 4096, 0)", "return {}, b''"], "forbidden", "may not do"),
    "a user namespace": ([LIBC, "libc.unshare(0x10000000)", "return {}, b''"], "forbidden", "may not do"),
    "keys": ([LIBC, "libc.syscall(250, 0, 0, 0, 0, 0)", "return {}, b''"], "forbidden", "may not do"),
    "killing itself": (["os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(60)"], "memory", "killed"),
}


@pytest.mark.parametrize("attempt", ENDS)
def test_a_program_that_ends_is_a_typed_error_that_says_how(start: Start, attempt: str) -> None:
    lines, failure, said = ENDS[attempt]
    if attempt == "keys" and os.uname().machine != "x86_64":
        pytest.skip("the number of keyctl is that of x86_64")
    error = ended(start(program(*lines)))
    assert error.failure == failure
    assert said in error.message
    assert error.exit_code == 4


@pytest.mark.parametrize("should_stop", [None, lambda: False])
def test_a_program_that_never_answers_is_ended(start: Start, should_stop: Callable[[], bool] | None) -> None:
    process = start(program("while True: time.sleep(0.01)"))
    init = process.init
    error = ended(process, timeout_s=0.5, should_stop=should_stop)
    assert (error.failure, "within 0.5 s" in error.message) == ("timeout", True)
    assert not pid_alive(init)


def test_an_answer_that_nobody_wants_any_more_is_not_waited_for(start: Start) -> None:
    process = start(program("while True: time.sleep(0.01)"))
    init = process.init
    with pytest.raises(Interrupted, match="stopped"):
        process.ask({"do": "go"}, timeout_s=PATIENT_S, doing="maps of 16 images", should_stop=[False, True].pop)
    assert not pid_alive(init)
    assert ended(process).message == "the model hostile was stopped"


def test_a_terminal_s_ctrl_c_does_not_reach_the_program(start: Start) -> None:
    process = start(program("return {}, b''"))
    assert os.getsid(process.init) != os.getsid(0)
    assert os.getpgid(process._process.pid) != os.getpgid(0)


def test_memory_of_its_own_is_bounded_and_the_program_may_go_on(start: Start) -> None:
    process = start(program("x = bytearray(2**29)", "return {}, b''"), memory_bytes=2**28)
    for _ in range(2):
        with pytest.raises(MemoryError, match="hostile ran out of memory during a batch"):
            process.ask({"do": "go"}, timeout_s=PATIENT_S, doing="a batch")


def test_shared_memory_counts_too(start: Start) -> None:
    lines = (
        "m = mmap.mmap(-1, 2**29)",
        "for i in range(0, 2**29, 4096): m[i] = 1",
        "time.sleep(60)",
    )
    error = ended(start(program(*lines), memory_bytes=2**28))
    assert error.failure == "memory"
    assert "0.2 GiB" in error.message or "0.3 GiB" in error.message


def test_threads_are_counted(start: Start) -> None:
    lines = (
        "threads = [threading.Thread(target=time.sleep, args=(60,), daemon=True) for _ in range(80)]",
        "for t in threads: t.start()",
        "time.sleep(60)",
    )
    process = start(program(*lines), threads=40)
    with pytest.raises(ModelRunError) as caught:  # ended by the watch; where not root, the 41st cannot be started
        process.ask({"do": "go"}, timeout_s=PATIENT_S, doing="a batch of 1")
    assert caught.value.failure in ("processes", "error")


FORKS = (
    "for _ in range(7):",
    "    try: os.fork()",
    "    except OSError: return {}, b''",
    "time.sleep(60)",
)


def test_a_program_that_may_start_processes_starts_only_so_many_and_none_outlives_it(start: Start) -> None:
    process = start(program(*FORKS), processes=8, threads=30)
    init = process.init
    with contextlib.suppress(ModelRunError):  # ended by the watch, or, where not root, the kernel refuses the next one
        process.ask({"do": "go"}, timeout_s=PATIENT_S, doing="a batch of 1")
    process.close()
    assert list(tree(init)) == [init]
    assert not pid_alive(init)


DAEMON = (
    "if os.fork() == 0:",
    "    os.setsid()",
    "    if os.fork() == 0: time.sleep(600)",
    "    os._exit(0)",
    "os.wait()",
    "return {}, b''",
)


def test_what_it_leaves_running_ends_with_it(start: Start) -> None:
    process = start(program(*DAEMON), processes=8, threads=30)
    process.ask({"do": "go"}, timeout_s=PATIENT_S, doing="a batch of 1")
    pids = list(tree(process.init))
    assert len(pids) >= 3  # bubblewrap's first process, the program, and the daemon
    process.close()
    assert not [pid for pid in pids if pid_alive(pid)]


HEARS_NOTHING_MORE = """
import json, socket, sys, time
sys.path[:0] = json.loads(sys.argv[2])
from evalsuite.sandbox.wire import receive, send
channel = socket.socket(fileno=int(sys.argv[1]))
receive(channel)
send(channel, {"id": 1, "ok": True})
time.sleep(600)
"""
KILLED = """
import os, signal, sys
from evalsuite.sandbox.launcher import Box
from evalsuite.sandbox.process import ChildProcess
process = ChildProcess(Box(accelerator=False), name="x", program=sys.argv[1])
print(process.init, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_a_suite_that_is_killed(bubblewrap: object) -> None:
    command = [sys.executable, "-c", KILLED, HEARS_NOTHING_MORE]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        init = int(parent.stdout.readline())
        assert parent.wait() == -signal.SIGKILL
        until = time.monotonic() + PATIENT_S
        while pid_alive(init) and time.monotonic() < until:
            time.sleep(0.02)
        assert not pid_alive(init)


def test_what_it_prints_is_read_without_end_kept_in_part_and_made_printable(start: Start, tmp_path: Path) -> None:
    lines = (
        "print('\\x1b[2J\\x1b]0;title\\x07 cleared \\u202e backwards', flush=True)",
        "for _ in range(64): os.write(1, b'x' * 2**16 + b'\\n')",
        "return {}, b''",
    )
    process = start(program(*lines), log_bytes=2**17)
    process.ask({"do": "go"}, timeout_s=PATIENT_S, doing="a batch of 1")
    process.close()
    process.keep_log(tmp_path / "logs" / "model.log")
    text = (tmp_path / "logs" / "model.log").read_text(encoding="utf-8")
    assert text.startswith("?[2J?]0;title? cleared ? backwards\n")
    assert text.endswith("further bytes were not kept]\n")
    assert len(text.encode()) < 2**17 + 200


SAID = {
    "no message": "b'HTTP/1.1 200 OK' * 10",
    "an endless header": "struct.pack('<4sIQ', b'evs1', 2**31, 0)",
    "an endless payload": "struct.pack('<4sIQ', b'evs1', 2, 2**60) + b'{}'",
    "no JSON": "struct.pack('<4sIQ', b'evs1', 4, 0) + b'{{{{'",
    "nested without end": "struct.pack('<4sIQ', b'evs1', 200000, 0) + b'[' * 200000",
    "not a number": "struct.pack('<4sIQ', b'evs1', 9, 0) + b'{\"a\":NaN}'",
    "no mapping": "struct.pack('<4sIQ', b'evs1', 2, 0) + b'[]'",
    "an answer to another question": "struct.pack('<4sIQ', b'evs1', 18, 0) + b'{\"id\":9,\"ok\":true}'",
    "bytes nobody asked for": "struct.pack('<4sIQ', b'evs1', 18, 5) + b'{\"id\":2,\"ok\":true}hello'",
}


@pytest.mark.parametrize("what", SAID)
def test_nonsense_on_the_wire_is_a_typed_error(start: Start, what: str) -> None:
    lines = (
        "import socket, struct",
        "s = socket.socket(fileno=int(sys.argv[1]))",
        f"s.sendall({SAID[what]})",
        "time.sleep(60)",
    )
    error = ended(start(program(*lines)))
    assert error.failure == "protocol", error.message
    assert "did not answer as agreed" in error.message
