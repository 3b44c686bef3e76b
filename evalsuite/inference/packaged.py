"""Running a packaged model over the cases: decode ahead, predict, store finished parts, go on where a run stopped."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import Interrupted, ModelRunError
from evalsuite.inference.crew import Answer, Crew, Worker, require_same
from evalsuite.inference.decoders import DEPTH, Allocate, Decoders
from evalsuite.inference.device import allocator
from evalsuite.inference.hooks import Hooks
from evalsuite.inference.mask_store import masks_digest
from evalsuite.inference.store import Shard, masks_path, read_shard, shard_key, write_shard

if TYPE_CHECKING:
    from evalsuite.testset.types import Case

log = logging.getLogger(__name__)

_MAX_PENDING = 4


@dataclass(slots=True, kw_only=True)
class Clock:
    """Where the time went, in seconds: `read_decode` adds up over decoders; wait, copy and predict over workers."""

    read_decode: float = 0.0
    wait: float = 0.0
    copy: float = 0.0
    predict: float = 0.0
    store: float = 0.0
    latency: list[np.ndarray] = field(default_factory=list)

    def count(self, answer: Answer) -> None:
        """Add what one batch took."""
        self.spend(answer)
        self.latency.append(answer.decode + answer.predict)

    def spend(self, answer: Answer) -> None:
        """Add the seconds of one batch, which is not one of whole cases."""
        self.read_decode += float(answer.decode.sum())
        self.wait += answer.wait
        self.copy += answer.copy
        self.predict += answer.predict

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cases in shards, the shards in batches: fixed before the first case, the same in every resumption.

    Where cases are slides (`tiled`), a batch is one of tiles.
    """

    shards: tuple[tuple[Case, ...], ...]
    keys: tuple[str, ...]
    batch_size: int
    tiled: bool = False

    def batches(self, shard: int) -> list[tuple[Case, ...]]:
        cases = self.shards[shard]
        return [cases[i : i + self.batch_size] for i in range(0, len(cases), self.batch_size)]


def make_plan(
    cases: Sequence[Case],
    *,
    batch_size: int,
    shard_size: int,
    model: Any,
    testset: str,
    policy: Mapping[str, Any],
) -> Plan:
    """Cut the cases into shards of `shard_size`, a multiple of `batch_size`; no batch straddles two shards."""
    shards = tuple(tuple(cases[i : i + shard_size]) for i in range(0, len(cases), shard_size))
    keys = tuple(
        shard_key(
            model=model.digest,
            contract=model.contract_digest,
            testset=testset,
            case_ids=[case.case_id for case in shard],
            policy=policy,
        )
        for shard in shards
    )
    return Plan(shards=shards, keys=keys, batch_size=batch_size, tiled=model.contract.tiled is not None)


def run_plan(
    plan: Plan,
    workers: Sequence[Worker],
    hooks: Hooks,
    *,
    folder: Path,
    n_decoders: int,
    clock: Clock,
    outputs: tuple[str, ...],
    seed: int,
    on_case: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> tuple[list[Shard], int]:
    """All shards in order, and how many of them were there already; the bytes do not depend on the number of workers.

    Raises
    ------
    Interrupted
        If `should_stop` said so, or on Ctrl-C; finished shards stay.
    OutOfMemory
        From `step.forward`; finished shards stay.
    """
    total = sum(map(len, plan.shards))
    found = [read_shard(folder, key, n=len(shard)) for key, shard in zip(plan.keys, plan.shards, strict=True)]
    done = sum(len(shard.reasons) for shard in found if shard is not None)
    n_resumed = sum(shard is not None for shard in found)
    todo = [i for i, shard in enumerate(found) if shard is None]
    if on_case is not None and done:
        on_case(done, total)

    def count(n: int) -> None:
        nonlocal done
        done += n
        if on_case is not None:
            on_case(done, total)

    try:
        computing = predict_shards(
            plan, todo, workers, hooks, n_decoders=n_decoders, clock=clock, outputs=outputs,
            seed=seed, on_batch=count, should_stop=should_stop,
        )  # fmt: skip
        with _Writer(folder, clock) as writer, closing(computing):
            for i, shard in computing:
                writer.write(plan.keys[i], shard)
                found[i] = replace(shard, masks=())  # they are on disk, or on their way
    except KeyboardInterrupt:
        raise stopped(plan, folder) from None
    return [shard for shard in found if shard is not None], n_resumed


def stopped(plan: Plan, folder: Path) -> Interrupted:
    """The error of a run that was stopped, with the number of cases whose answers are stored."""
    stored = [read_shard(folder, key, n=len(shard)) for key, shard in zip(plan.keys, plan.shards, strict=True)]
    n_stored = sum(len(shard.reasons) for shard in stored if shard is not None)
    total = sum(map(len, plan.shards))
    return Interrupted(
        f"stopped; {n_stored} of {total} cases are stored", hint="The same command goes on where it stopped."
    )


def predict_shards(
    plan: Plan,
    todo: Sequence[int],
    workers: Sequence[Worker],
    hooks: Hooks,
    *,
    n_decoders: int,
    clock: Clock,
    outputs: tuple[str, ...],
    seed: int,
    on_batch: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[tuple[int, Shard], None, None]:
    """Compute the shards `todo` of the plan, one after the other, and hand each out as it is finished.

    This is what one machine does, this one or another, with its workers and one pool of decoders; nothing is stored
    here. `on_batch` is called with the number of cases of every finished batch.

    Raises
    ------
    KeyboardInterrupt
        If `should_stop` said so, asked before every batch.
    OutOfMemory
        From `step.forward`.
    """
    if hooks.tiles is not None:
        from evalsuite.inference.slides import predict_slides

        yield from predict_slides(
            plan, todo, workers, hooks, n_decoders=n_decoders, allocate=_allocator(workers[0]),
            depth=depth_for(workers), clock=clock, outputs=outputs, seed=seed, on_batch=on_batch,
            should_stop=should_stop,
        )  # fmt: skip
        return
    batches = [(i, batch) for i in todo for batch in plan.batches(i)]
    of_cases = [batch for _, batch in batches]
    names = tuple(outputs)
    with (
        Decoders(
            of_cases,
            hooks.read,
            n_threads=n_decoders,
            depth=depth_for(workers),
            allocate=_allocator(workers[0]),
            ahead=hooks.ahead,
        ) as decoders,
        Crew(of_cases, workers, decoders, hooks, seed=seed, names=names) as crew,
    ):
        parts: list[Shard] = []
        answers = crew.answers()
        for k, (i, _) in enumerate(batches):
            if should_stop is not None and should_stop():
                raise KeyboardInterrupt
            answer = next(answers)
            clock.count(answer)
            if answer.part.outputs:
                names = names or tuple(answer.part.outputs)
                require_same(names, tuple(answer.part.outputs))
            parts.append(answer.part)
            if k + 1 == len(batches) or batches[k + 1][0] != i:
                yield i, join_parts(parts)
                parts = []
            if on_batch is not None:
                on_batch(len(answer.part.reasons))


def _allocator(worker: Worker) -> Allocate:
    """A model in another process brings buffers that both can see."""
    shared: Allocate | None = getattr(worker.model, "allocate", None)
    return shared or allocator(worker.device)


def depth_for(workers: Sequence[Worker]) -> int:
    """Batches in memory at a time: of volumes one per worker and the one read meanwhile, else some more."""
    if getattr(workers[0].model.contract, "is_volume", False):
        return len(workers) + 1
    return DEPTH + 2 * (len(workers) - 1)


def join_parts(parts: Sequence[Shard]) -> Shard:
    """One shard from its batches; a batch without any output has NaN in every column."""
    names = next((tuple(part.outputs) for part in parts if part.outputs), ())
    return Shard(
        reasons=tuple(reason for part in parts for reason in part.reasons),
        outputs={
            name: np.concatenate([part.outputs.get(name, np.full(len(part.reasons), np.nan)) for part in parts])
            for name in names
        },
        masks=tuple(mask for part in parts for mask in part.masks),
        mask_digests=tuple(digest for part in parts for digest in part.mask_digests),
        prepared=dict(sorted(sum((Counter(part.prepared) for part in parts), Counter[str]()).items())),
    )


def masks_of(plan: Plan, shards: Sequence[Shard], folder: Path) -> tuple[str | None, tuple[Path, ...]]:
    """Digest of all masks of a run and the files they lie in; None and () where the model draws none."""
    drawn = [(key, shard) for key, shard in zip(plan.keys, shards, strict=True) if shard.mask_digests]
    if not drawn:
        return None, ()
    digest = masks_digest(d for _, shard in drawn for d in shard.mask_digests)
    return digest, tuple(masks_path(folder, key) for key, _ in drawn)


def repeat_batch(
    plan: Plan, shards: Sequence[Shard], model: Any, hooks: Hooks, *, device: str, seed: int, names: Sequence[str]
) -> dict[str, Any]:
    """Run one batch, drawn by the seed, a second time from the file on: how far the outputs are from the first time."""
    i, start, once_more = draw_batch(plan, shards, seed=seed)
    answered = predict_shards(
        once_more, [0], [Worker(model=model, device=device)], hooks, n_decoders=1, clock=Clock(),
        outputs=tuple(names), seed=seed,
    )  # fmt: skip
    return compare_batch(shards[i], start, dict(answered)[0])


def draw_batch(plan: Plan, shards: Sequence[Shard], *, seed: int) -> tuple[int, int, Plan]:
    """A batch with at least one answer, drawn by the seed: its shard, its first row there, and a plan of it alone.

    The batch is made of the same cases as before, because the batch a case stands in may change its last bits.
    """
    rows = 1 if plan.tiled else plan.batch_size
    candidates = [
        (i, start)
        for i, shard in enumerate(shards)
        for start in range(0, len(shard.reasons), rows)
        if any(reason is None for reason in shard.reasons[start : start + rows])
    ]
    i, start = candidates[int(np.random.default_rng(seed).integers(len(candidates)))]
    cases = plan.shards[i][start : start + rows]
    return i, start, Plan(shards=(cases,), keys=("",), batch_size=plan.batch_size, tiled=plan.tiled)


def compare_batch(shard: Shard, start: int, again: Shard) -> dict[str, Any]:
    """How far the answers of a batch run a second time are from the first, which stand in `shard` from row `start`."""
    rows = slice(start, start + len(again.reasons))
    names = list(again.outputs)
    first = {name: shard.outputs[name][rows] for name in names}
    before = shard.reasons[rows]
    ok = np.array([a is None and b is None for a, b in zip(before, again.reasons, strict=True)])
    by_output = [float(np.abs(first[name][ok] - again.outputs[name][ok]).max()) for name in names if ok.any()]
    difference = max(by_output) if by_output else None
    return {
        "n": int(ok.sum()),
        "max_abs_difference": difference,
        "bitwise_equal": bool(
            before == again.reasons
            and set(again.mask_digests) <= set(shard.mask_digests)
            and all(np.array_equal(first[n], again.outputs[n], equal_nan=True) for n in names)
        ),
    }


def require_some_output(reasons: Sequence[str | None], *, name: str) -> None:
    """Raise `ModelRunError`, with the reasons counted, where not one case has a usable output."""
    if any(reason is None for reason in reasons):
        return
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[str(reason)] = counts.get(str(reason), 0) + 1
    listed = ", ".join(f"{reason}: {n}" for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    raise ModelRunError(
        f"no case has a usable output from the model {name} ({len(reasons)} failed: {listed})",
        hint="Check that images and contract belong together: evalsuite inspect MODEL.",
    )


class _Writer:
    """One thread that stores finished shards; on leaving, whatever was handed over is stored."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shard-writer")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            for future in self._pending:
                future.result()

    def write(self, key: str, shard: Shard) -> None:
        """Hand a shard over; raises what an earlier one failed with (`OutputError`)."""
        self._pending.append(self._pool.submit(self._store, key, shard))
        while self._pending and (self._pending[0].done() or len(self._pending) > _MAX_PENDING):
            self._pending.pop(0).result()

    def _store(self, key: str, shard: Shard) -> None:
        with self._clock.timed("store"):
            write_shard(self._folder, key, shard)
