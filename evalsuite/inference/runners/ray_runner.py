"""Workers on a Ray cluster: one actor per accelerator, or per group of cores where there are none.

Ray only places the workers and says which of them died. It retries nothing (`max_restarts` and `max_task_retries` are
0): the driver alone does, because retries stacked on retries do not end. Ray sends no usage statistics from here.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from evalsuite.errors import EvalsuiteError, InputError, ModelLoadError, ModelRunError
from evalsuite.inference.process import recommended_environment
from evalsuite.inference.runners.base import Answer, Facts, Lease, MakePredictor, Outcome, Predictor, Work

log = logging.getLogger(__name__)

START_PATIENCE_S = 300.0
MAX_START_LOSSES = 3
_POLL_S = 0.5
_CONNECT_S = 10.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RayRunner:
    """Workers on the Ray cluster at `address`.

    Parameters
    ----------
    address
        "auto" or HOST:PORT of a running cluster; None: the one RAY_ADDRESS names, else a cluster of this machine alone,
        started for the run.
    workers
        How many workers at most; None: as many as the cluster has accelerators, or groups of cores.
    patience_s
        How long to wait for a worker where none is left, before the run ends (it can be resumed).
    """

    address: str | None = None
    workers: int | None = None
    patience_s: float = START_PATIENCE_S

    @property
    def name(self) -> str:
        return "ray"

    @contextmanager
    def start(
        self, make: MakePredictor, *, threads: int, gpu: bool, most: int, should_stop: Callable[[], bool] | None
    ) -> Iterator[RayWorkers]:
        """See `Runner.start`.

        Raises
        ------
        InputError
            If Ray is not installed, the cluster cannot be reached, or has no room for a single worker.
        """
        ray = _import_ray()
        joined = ray.is_initialized()
        if not joined:
            _connect(ray, self.address)
        try:
            room = _room(ray, threads=threads, gpu=gpu)
            workers = RayWorkers(
                ray,
                make,
                room=room,
                n=max(1, min(self.workers or room.workers, most)),
                threads=threads,
                patience_s=self.patience_s,
                should_stop=should_stop,
            )
            try:
                yield workers
            finally:
                workers.close()
        finally:
            if not joined:
                ray.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What one worker is given, and how many such workers the cluster holds now."""

    cpus: int
    gpus: int
    workers: int


@dataclass(slots=True, kw_only=True)
class _Member:
    actor: Any
    answer: Any  # what it is working on: the reference of its answer, None where it waits
    lease: Lease | None = None
    facts: Facts | None = None


class _Actor:
    """What runs on the worker's side; it hands errors back as values."""

    def __init__(self) -> None:
        self._predictor: Predictor | None = None

    def prepare(self, make: MakePredictor, decoders: int | None) -> Facts | EvalsuiteError:
        try:
            self._predictor = make(decoders)
            return self._predictor.facts()
        except EvalsuiteError as error:
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)
        except Exception as error:  # damaged package, missing library: the run ends in words
            return ModelLoadError(f"a worker could not open the model: {type(error).__name__}")

    def probe(self, work: Work) -> tuple[str, ...] | EvalsuiteError:
        assert self._predictor is not None, "prepared before"
        try:
            return self._predictor.probe(work)
        except EvalsuiteError as error:
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)
        except Exception as error:
            return ModelRunError(f"a worker failed with {type(error).__name__}")

    def answer(self, lease: Lease) -> Answer:
        assert self._predictor is not None, "prepared before"
        return self._predictor.predict_shards(lease)


class RayWorkers:
    """See `base.Workers`. A worker that is lost is replaced; Ray starts the new one where it finds room."""

    def __init__(
        self,
        ray: Any,
        make: MakePredictor,
        *,
        room: _Room,
        n: int,
        threads: int,
        patience_s: float,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._ray = ray
        self._room = room
        self._make = ray.put(make)
        environment = {**recommended_environment(), **_QUIET, "OMP_NUM_THREADS": str(threads)}
        self._class = ray.remote(_Actor).options(
            num_cpus=room.cpus,
            num_gpus=room.gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": environment},
        )
        self._patience_s = patience_s
        self._should_stop = should_stop
        self._facts: Facts | None = None
        self._start_losses = 0
        self._ended: list[Outcome] = []
        self._members: list[_Member] = []
        for _ in range(n):
            self._hire()

    def facts(self) -> Facts:
        self._until(lambda: self._facts is not None)
        assert self._facts is not None
        return self._facts

    def probe(self, work: Work) -> tuple[str, ...]:
        for _ in range(MAX_START_LOSSES):
            self._until(lambda: self.idle() > 0)
            member = next(m for m in self._members if m.facts is not None and m.answer is None)
            try:
                found = self._get(member.actor.probe.remote(work))
            except _Lost as lost:
                self._replace(member, str(lost))
                continue
            if isinstance(found, EvalsuiteError):
                raise found
            return tuple(found)
        raise ModelRunError(
            f"{MAX_START_LOSSES} workers were lost on the first batch",
            hint="A model that ends the process does this, and so does too little memory: run with --runner local.",
        )

    def size(self) -> int:
        return len(self._members)

    def idle(self) -> int:
        return sum(m.facts is not None and m.answer is None for m in self._members)

    def submit(self, lease: Lease) -> None:
        member = next(m for m in self._members if m.facts is not None and m.answer is None)
        member.lease = lease
        member.answer = member.actor.answer.remote(lease)

    def wait(self, seconds: float) -> list[Outcome]:
        if not self._ended:
            self._step(seconds)
            if not any(m.facts is not None for m in self._members):
                self._until(lambda: bool(self._ended) or any(m.facts is not None for m in self._members))
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Give the workers back."""
        for member in self._members:
            with suppress(Exception):  # it may be gone already; nothing depends on it any more
                self._ray.kill(member.actor)
        self._members = []

    def _hire(self) -> None:
        actor = self._class.remote()
        decoders = max(1, self._room.cpus - 1) if self._room.gpus else None
        self._members.append(_Member(actor=actor, answer=actor.prepare.remote(self._make, decoders)))

    def _replace(self, member: _Member, why: str) -> None:
        log.warning("a worker was lost: %s", why)
        with suppress(Exception):  # a worker that is only unreachable must not answer later
            self._ray.kill(member.actor)
        self._members.remove(member)
        self._hire()

    def _until(self, reached: Callable[[], bool]) -> None:
        """Go on until `reached`; InputError where that takes longer than the patience."""
        deadline = time.monotonic() + self._patience_s
        while not reached():
            if self._should_stop is not None and self._should_stop():
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise InputError(
                    f"no worker of the cluster became ready within {self._patience_s:.0f} s",
                    hint="Check that the cluster has room (ray status); the same command goes on where it stopped.",
                )
            self._step(_POLL_S)

    def _step(self, seconds: float) -> None:
        """Wait for anything to end, and note what it was."""
        at_work = {m.answer: m for m in self._members if m.answer is not None}
        if not at_work:
            time.sleep(min(seconds, 0.05))
            return
        references = list(at_work)
        ready, _ = self._ray.wait(references, num_returns=1, timeout=seconds)
        if ready and len(references) > 1:
            ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        for reference in ready:
            self._take(at_work[reference], reference)

    def _take(self, member: _Member, reference: Any) -> None:
        try:
            found = self._get(reference)
        except _Lost as lost:
            self._replace(member, str(lost))
            if member.lease is not None:
                self._ended.append(Outcome(lease=member.lease, answer=None, lost=str(lost)))
                return
            self._start_losses += 1
            if self._start_losses >= MAX_START_LOSSES and self._facts is None:
                raise ModelLoadError(
                    f"{self._start_losses} workers were lost while they opened the model",
                    hint="A model that ends the process does this, and so does too little memory: "
                    "run with --runner local.",
                ) from None
            return
        member.answer = None
        if member.lease is not None:
            self._ended.append(Outcome(lease=member.lease, answer=found))
            member.lease = None
        elif isinstance(found, EvalsuiteError):
            raise found
        else:
            self._join(member, found)

    def _join(self, member: _Member, facts: Facts) -> None:
        from evalsuite.inference.runners.worker import require_same

        if self._facts is None:
            self._facts = facts
        require_same(self._facts, facts)
        member.facts = facts

    def _get(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise ModelRunError(
                f"a worker failed with {type(error.cause).__name__}",
                hint="Check that every machine of the cluster has the same installation.",
            ) from None
        except errors.RayError as error:
            raise _Lost(type(error).__name__) from None


class _Lost(Exception):
    """The worker did not live to give its answer."""


def _import_ray() -> Any:
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    try:
        import ray
    except ImportError:
        raise InputError(
            "the runner ray needs the package ray, which is not installed",
            hint="pip install 'evalsuite[ray]' on every machine of the cluster, or leave --runner out.",
        ) from None
    import ray.exceptions

    return ray


def _connect(ray: Any, address: str | None) -> None:
    where = address or os.environ.get("RAY_ADDRESS") or ""
    here = not where
    _require_reachable(where)
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)} if in_main else {}
    only_here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100 << 20} if here else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **only_here)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, OSError) as error:
        raise _unreachable(where, type(error).__name__) from error
    finally:  # Ray puts its own handler of SIGTERM in place of the one that stops a run after the batch in hand
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _require_reachable(where: str) -> None:
    """Ray tries an address that nobody listens at for minutes: ask first."""
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit() or "://" in where:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise _unreachable(where, error.strerror or type(error).__name__) from error


def _unreachable(where: str, why: str) -> InputError:
    return InputError(
        f"the Ray cluster {where or 'of this machine'} cannot be reached ({why})",
        hint="Check the address, and that Python and Ray have the same versions there and here (ray status).",
    )


def _room(ray: Any, *, threads: int, gpu: bool) -> _Room:
    nodes = [node.get("Resources", {}) for node in ray.nodes() if node.get("Alive")]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    if gpu and any(gpus):
        cpus = min(int(node.get("CPU", 1)) // n for node, n in zip(nodes, gpus, strict=True) if n)
        return _Room(cpus=max(1, cpus), gpus=1, workers=sum(gpus))
    workers = sum(int(node.get("CPU", 0)) // threads for node in nodes)
    if not workers:
        raise InputError(
            f"no machine of the cluster has {threads} core(s) for a worker", hint="Ask for fewer with --threads."
        )
    return _Room(cpus=threads, gpus=0, workers=workers)
