"""One sandboxed process and the conversation with it: whatever it does, this side gets an answer or a typed error."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from evalsuite.errors import (
    ContractError,
    EvalsuiteError,
    InputError,
    Interrupted,
    ModelError,
    ModelLoadError,
    ModelRunError,
    Problem,
)
from evalsuite.sandbox.launcher import Box, launch, require_bubblewrap, search_path
from evalsuite.sandbox.log import OutputLog
from evalsuite.sandbox.text import clean
from evalsuite.sandbox.watch import Watch, kill
from evalsuite.sandbox.wire import Message, WireError, receive, send

_START = (
    "import json, sys\n"
    "for p in reversed(json.loads(sys.argv[2])):\n"
    "    if p not in sys.path: sys.path.insert(0, p)\n"
    "from evalsuite.sandbox.child import main\n"
    "main(int(sys.argv[1]))\n"
)
_START_S = 300.0
_GRACE_S = 10.0
_LOOK_S = 0.2
_ERRORS: Mapping[str, type[EvalsuiteError]] = {
    "ContractError": ContractError,
    "ModelLoadError": ModelLoadError,
    "ModelRunError": ModelRunError,
    "InputError": InputError,
}
_GOES_ON = "The same command goes on where it stopped."
_AGAIN = f"What it printed, if anything, is in the run's logs/. {_GOES_ON}"


class ChildProcess:
    """A Python process in the sandbox that opens packages and answers batches, one question at a time.

    Start it from a thread that lives as long as the run: the kernel ends the sandbox with the thread that started it.
    `name` is what messages call the model, `program` the Python text that serves it (its arguments: the socket's number
    and folders to search for modules). After any error but a plain answer the process is gone.
    """

    def __init__(self, box: Box, *, name: str, program: str = _START) -> None:
        self.name = name
        self.sandbox = require_bubblewrap()
        self._limits = box.limits
        self._lock = threading.Lock()
        self._n_asked = 0
        self._ended: ModelError | None = None
        self._log_file: Path | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                launched = launch(
                    [
                        sys.executable,
                        "-s",
                        "-P",
                        "-B",
                        "-u",
                        "-c",
                        program,
                        str(theirs.fileno()),
                        json.dumps(search_path()),
                    ],
                    box,
                    sandbox=self.sandbox,
                    pass_fds=(theirs.fileno(),),
                )
            except EvalsuiteError:
                ours.close()
                raise
        self._channel = ours
        self._process = launched.process
        self.init = launched.init
        self.log = OutputLog(launched.output, limit=box.limits.log_bytes)
        self._watch = Watch(launched.init, box.limits)
        self._finalize = weakref.finalize(self, _end, self._process, self.init, self._watch, ours, self.log)
        self.ask({"do": "limit", "limits": box.limits.kernel_bounds()}, timeout_s=_START_S, doing="starting")

    @property
    def facts(self) -> dict[str, object]:
        """For record.json: what the sandbox is and what it withholds."""
        return self.sandbox.to_json(processes=self._limits.processes)

    def ask(
        self,
        header: Mapping[str, Any],
        *,
        timeout_s: float,
        doing: str,
        fds: Sequence[int] = (),
        max_payload: int = 0,
        should_stop: Callable[[], bool] | None = None,
    ) -> Message:
        """Send one question and wait for its answer.

        Parameters
        ----------
        doing
            What the model is doing, for messages: "opening", "a batch of 32".
        max_payload
            Most bytes the answer may have beside its header.
        should_stop
            Asked before and while the answer is waited for: True ends the process, and what it was doing is lost.

        Raises
        ------
        ModelRunError
            If the process ended, took too long, or answered what is no answer; `failure` says which. It is gone then.
        MemoryError
            If the answer is that memory ran out; the process is still there.
        Interrupted
            If `should_stop` said so.
        EvalsuiteError
            What the suite's own code in the sandbox, or the package, raised.
        """
        with self._lock:
            if self._ended is not None:
                raise ModelRunError(self._ended.message, hint=self._ended.hint, failure=self._ended.failure)
            self._n_asked += 1
            deadline = time.monotonic() + timeout_s
            asked = {**header, "id": self._n_asked}
            try:
                send(self._channel, asked, fds=fds, deadline=deadline)
                if should_stop is not None:
                    self._await(should_stop, deadline)
                answer = receive(self._channel, deadline=deadline, max_payload=max_payload)
                if answer.header.get("id") != self._n_asked:
                    raise WireError("an answer to something that was not asked")
            except TimeoutError:
                self._fail(f"did not finish {doing} within {timeout_s:g} s", "timeout")
            except WireError as error:
                self._explain(error, doing)
        if answer.header.get("ok") is True:
            return answer
        raise self._error(answer.header.get("error"), doing)

    def fail(self, what: str, failure: str) -> NoReturn:
        """End the process because its answer cannot be used: "the model NAME {what}"."""
        with self._lock:
            self._fail(what, failure)

    def close(self) -> None:
        """End the process and everything it started. Harmless when repeated."""
        self._finalize()
        if self._ended is None:
            self._ended = ModelRunError(f"the model {self.name} was closed")
        if self._log_file is not None:
            self.log.write(self._log_file)

    def keep_log(self, path: Path) -> None:
        """Have what it printed in `path` once it is closed, where it printed anything."""
        self._log_file = path
        if not self._finalize.alive:
            self.log.write(path)

    def _await(self, should_stop: Callable[[], bool], deadline: float) -> None:
        """Until an answer begins or the other side has gone, looking now and then whether it is still wanted."""
        said = select.poll()
        said.register(self._channel, select.POLLIN)
        while not should_stop():
            if said.poll(_LOOK_S * 1000):
                return
            if time.monotonic() > deadline:
                raise TimeoutError
        self._ended = ModelRunError(f"the model {self.name} was stopped")
        self._finalize()
        raise Interrupted("stopped", hint=_GOES_ON)

    def _fail(self, what: str, failure: str) -> NoReturn:
        self._ended = ModelRunError(f"the model {self.name} {what}", hint=_AGAIN, failure=failure)
        self._finalize()
        raise self._ended

    def _explain(self, error: WireError, doing: str) -> NoReturn:
        """The conversation broke off: because the process ended, and why, or because it talks nonsense."""
        code = self._wait()
        limits = self._limits
        if self._watch.why == "memory":
            self._fail(f"used more than {limits.memory / 2**30:.1f} GiB of memory during {doing}", "memory")
        if self._watch.why == "processes":
            self._fail(f"started more than {limits.threads} threads or processes during {doing}", "processes")
        if code is None:
            self._fail(f"did not answer as agreed during {doing}: {clean(error)}", "protocol")
        if code > 128:
            number = code - 128
            named = signal.Signals(number).name if number in {s.value for s in signal.Signals} else str(number)
            if number == signal.SIGSYS:
                self._fail(f"asked the operating system for what a model may not do, during {doing}", "forbidden")
            if number == signal.SIGKILL:
                self._fail(f"was killed during {doing}: most likely this machine's memory ran out", "memory")
            self._fail(f"crashed during {doing} ({named})", "crash")
        said = clean(self.log.last_line(), limit=200)
        self._fail(f"ended during {doing} (exit code {code}{'; it said: ' + said if said else ''})", "crash")

    def _wait(self) -> int | None:
        try:
            code = self._process.wait(_GRACE_S if self._quiet() else 0.5)
        except subprocess.TimeoutExpired:
            return None
        self.log.finish(_GRACE_S)
        return code if code >= 0 else 128 - code

    def _quiet(self) -> bool:
        """Whether the other end of the channel is closed, which is how an ending process looks from here."""
        try:
            self._channel.settimeout(0)
            return self._channel.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True
        except OSError:
            return False

    def _error(self, said: Any, doing: str) -> Exception:
        if not isinstance(said, dict):
            self.fail(f"did not answer as agreed during {doing}", "protocol")
        message, kind = clean(said.get("message", "")), said.get("type")
        if kind == "memory":
            return MemoryError(f"the model {self.name} ran out of memory during {doing}")
        if isinstance(kind, str) and kind in _ERRORS:
            problems = said.get("problems")
            found = [
                Problem(*(clean(part) for part in problem))
                for problem in (problems if isinstance(problems, list) else [])[:100]
                if isinstance(problem, list) and len(problem) == 3
            ]
            error = _ERRORS[kind](message, problems=found, hint=clean(said.get("hint", "")))
            if isinstance(error, ModelError) and said.get("failure") in ("contract", "error"):
                error.failure = said["failure"]
            if said.get("caused") is True:  # it was the package itself that failed, not the suite's check of it
                error.__cause__ = RuntimeError("raised by the package")
            return error
        error = ModelRunError(f"the model {self.name} failed during {doing}: {message}")
        error.__cause__ = RuntimeError("raised by the package")
        return error


def _end(process: subprocess.Popen[bytes], init: int, watch: Watch, channel: socket.socket, log: OutputLog) -> None:
    """Stop everything: the first process of the namespace takes all others with it, bubblewrap then ends by itself."""
    watch.stop()
    if process.poll() is None:
        kill(init)
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    channel.close()
    log.finish(_GRACE_S)
