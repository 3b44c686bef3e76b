"""From a model and a locked test set to predictions: every case gets an answer or a reason why it has none."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, ModelRunError
from evalsuite.inference.hooks import Hooks, bind_inputs, default_hooks
from evalsuite.inference.mark_places import grid_of_case, marks_outside
from evalsuite.inference.marks import join_marks
from evalsuite.inference.predictions import DEVICE, NO_PREDICTION, Predictions, make_predictions
from evalsuite.inference.process import share_cores
from evalsuite.inference.recorded import join_recorded
from evalsuite.inference.recorded_masks import join_masks
from evalsuite.inference.settings import InferenceSettings
from evalsuite.inference.summary import answers_table, failures, rate_and_latency, require_outputs
from evalsuite.inference.wanted import stopped
from evalsuite.models.folder_model import FolderModel

if TYPE_CHECKING:
    from evalsuite.inference.equivalence import Decide
    from evalsuite.inference.packaged import Clock
    from evalsuite.inference.remote import Cluster
    from evalsuite.models.base import AnyModel
    from evalsuite.testset.types import Case, LockedTestSet

log = logging.getLogger(__name__)


def predict(
    model: AnyModel,
    testset: LockedTestSet,
    *,
    settings: InferenceSettings,
    work: Path,
    on_case: Callable[[int, int], None] | None = None,
    limit: int | None = None,
    should_stop: Callable[[], bool] | None = None,
    required: Sequence[str] | None = None,
    hooks: Hooks | None = None,
    decide: Decide | None = None,
    cluster: Cluster | None = None,
    coordinates: str | None = None,
    conditions: Sequence[str] = (),
) -> Predictions:
    """The model's answers on the cases of the test set, in the order of the lock.

    A packaged model is run; recorded predictions are joined by case_id. Finished parts of a run are kept in
    `work`/shards, named by everything that decides their contents: the same call goes on where an earlier one stopped,
    and its predictions are the same to the byte.

    Parameters
    ----------
    work
        Folder for finished parts, made where it does not exist.
    on_case
        Called from this thread with (cases done, cases in all).
    limit
        Only the first so many cases.
    should_stop
        Asked before every batch; True ends the run as Ctrl-C does.
    required
        Outputs the protocol's score names: an unknown name is an error before the first case, and in recorded
        predictions only these decide whether a row's output is usable.
    hooks
        Other ways of reading and normalising (tests, perturbed images); in this process only.
    decide
        What the device decides from its outputs, at each operating point: counts decisions that another precision or
        backend turns round.
    cluster
        Workers elsewhere that compute the shards; without it this process does. The answers are the same bytes.
    coordinates
        What the millimetres of recorded marks count from (`task.coordinates`): a mark outside its image then fails the
        case. None: not compared.
    conditions
        Of the device's recorded marks, the conditions that are read (degraded images).

    Raises
    ------
    ContractError, InputError
        If model and test set do not fit each other, or the device asked for is not there; before the first case.
    CaseTableError
        If recorded predictions do not fit the set.
    ModelRunError
        If the model fails, memory runs out at a batch size given explicitly, or no case has a usable output.
    OutputError
        If finished parts cannot be stored.
    Interrupted
        If stopped; the same call goes on.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; 1 or more cases are evaluated", hint="Leave --limit out for all cases.")
    cases = testset.cases[:limit]
    if not cases:
        raise InputError(f"the test set {testset.set_id} has no cases")
    identity = {
        "name": model.name,
        "format": model.format,
        "digest": model.digest,
        "contract_digest": getattr(model, "contract_digest", None),
    }
    if model.format == "recorded":
        if cluster is not None:
            raise InputError(
                "recorded predictions are read, not computed: there is nothing for a cluster to do",
                hint="Leave --runner out.",
            )
        return _join(
            model, testset, cases, identity, required=required, on_case=on_case, work=work, coordinates=coordinates,
            conditions=conditions,
        )  # fmt: skip
    if isinstance(model, FolderModel):
        from evalsuite.inference.folders import predict_folders

        if cluster is not None:
            raise InputError("a program or container runs on this machine only", hint="Leave --runner out.")
        return predict_folders(
            model, testset, cases, identity, settings=settings, work=work, on_case=on_case, should_stop=should_stop,
            required=required,
        )  # fmt: skip
    if cluster is not None:
        from evalsuite.inference.remote import predict_on

        try:
            return predict_on(
                cluster, model, testset, cases, identity, settings=settings, work=work, on_case=on_case,
                should_stop=should_stop, required=required,
            )  # fmt: skip
        except KeyboardInterrupt:
            raise stopped() from None
    hooks = hooks or default_hooks(model, bind_inputs(model.contract, cases))
    try:
        return _run(
            model,
            testset,
            cases,
            identity,
            hooks=hooks,
            settings=settings,
            work=work,
            on_case=on_case,
            should_stop=should_stop,
            required=required,
            decide=decide,
        )
    except KeyboardInterrupt:
        raise stopped() from None


def _join(
    model: Any,
    testset: LockedTestSet,
    cases: Sequence[Case],
    identity: dict[str, Any],
    *,
    required: Sequence[str] | None,
    on_case: Callable[[int, int], None] | None,
    work: Path,
    coordinates: str | None,
    conditions: Sequence[str],
) -> Predictions:
    started = time.perf_counter()
    by_id = {case.case_id: case for case in cases}
    case_ids, all_ids = ([case.case_id for case in group] for group in (cases, testset.cases))
    masks = [name for name in required or () if name in getattr(model, "files", {})]
    if masks:
        joined = join_masks(
            model, case_ids=case_ids, all_ids=all_ids, identity=identity, column=masks[0], work=work,
            grid_of=partial(grid_of_case, by_id),
        )  # fmt: skip
    else:
        place = getattr(model, "place", ())  # one row per mark, or one per case
        outside = None if coordinates is None else partial(marks_outside, by_id, coordinates=coordinates, place=place)
        join = partial(join_marks, place=place, outside=outside, conditions=conditions) if place else join_recorded
        joined = join(model.table, case_ids=case_ids, all_ids=all_ids, model=identity, required=required)
    device = joined.table[joined.table["rater"] == DEVICE]
    failed = Counter(device.loc[device["status"] == "failed", "reason"].tolist())
    if failed.total() == len(device):
        from evalsuite.inference.packaged import require_some_output

        read = (joined.table["rater"] != DEVICE) & (joined.table["status"] == "ok")
        if not bool(read.any()):
            require_some_output(device["reason"].tolist(), name=model.name)
        if set(failed) == {NO_PREDICTION}:
            failed.clear()  # readings of people only: the device was not run alone, so nothing of it failed
    if on_case is not None:
        on_case(len(cases), len(cases))
    inference = {
        **joined.record["inference"],
        "n_failed": failed.total(),
        "failed_by_reason": dict(sorted((str(reason), n) for reason, n in failed.items())),
        "wall_s": time.perf_counter() - started,
        "resumed_shards": 0,
        "sandbox": "none",
    }
    return replace(joined, record={"inference": inference})


def _run(
    model: Any,
    testset: LockedTestSet,
    cases: Sequence[Case],
    identity: dict[str, Any],
    *,
    hooks: Hooks,
    settings: InferenceSettings,
    work: Path,
    on_case: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
    required: Sequence[str] | None,
    decide: Decide | None,
) -> Predictions:
    from evalsuite.inference import device as devices
    from evalsuite.inference import packaged
    from evalsuite.inference.cache import with_cache
    from evalsuite.inference.equivalence import N_COMPARED, admit
    from evalsuite.inference.probe import fitting_batch, probe
    from evalsuite.inference.sources import from_shared
    from evalsuite.inference.staff import hire, places
    from evalsuite.inference.step import OutOfMemory
    from evalsuite.testset.places import locked_digests

    where, remarks = places(model, devices.choose_devices(settings.device), settings)
    model, notes = devices.place(model, where[0], settings)
    device = str(model.device)
    on_cpu = not device.startswith("cuda")
    if on_cpu:
        where = ["cpu"] * (settings.workers or 1)
    threads, n_decoders = share_cores(
        on_cpu=on_cpu, threads=settings.threads, decoders=settings.decoders, workers=len(where)
    )
    model = model.with_threads(threads)
    batch_size = settings.first_batch(model.contract, on_cpu=on_cpu)
    here = devices.batches_on(model)
    clock = packaged.Clock()
    hooks = from_files = from_shared(hooks, cases, lambda: locked_digests(testset))
    hooks, cache = with_cache(hooks, testset, settings)
    seconds: dict[str, float] = {}
    with devices.deterministic(seed=settings.seed, threads=threads) as warned:
        started = time.perf_counter()
        try:
            outputs = probe(model, cases, hooks, device=here)
        except OutOfMemory:
            outputs = ()  # the run itself finds out which batch fits
        drawn = [output.name for output in model.contract.masks]
        require_outputs(required, (*(outputs or model.contract.columns), *drawn))
        if not on_cpu and settings.batch_size is None:
            batch_size = fitting_batch(model, cases, hooks, device=here, batch_size=batch_size)
            devices.free_memory(device)
        seconds["probe_s"] = time.perf_counter() - started
        equivalence = None
        if not settings.numerics.as_packaged:
            model, equivalence = admit(
                model, cases, hooks, settings, device=here, batch_size=min(batch_size, N_COMPARED), threads=threads,
                n_decoders=n_decoders, decide=decide,
            )  # fmt: skip
        started = time.perf_counter()
        if cache is not None:
            cache.count_anew()
        workers = hire(model, where, settings, threads=threads, most=-(-len(cases) // batch_size))
        seconds["workers_s"] = time.perf_counter() - started
        started = time.perf_counter()
        while True:
            policy = devices.numeric_policy(
                device=device, settings=settings, batch_size=batch_size, threads=threads, outputs_format=model.format
            )
            plan = packaged.make_plan(
                cases,
                batch_size=batch_size,
                shard_size=settings.cases_per_shard(model.contract, batch_size),
                model=model,
                testset=testset.root,
                policy=policy,
            )
            try:
                shards, n_resumed = packaged.run_plan(
                    plan, workers, hooks, folder=work / "shards", n_decoders=n_decoders,
                    clock=clock, outputs=outputs, seed=settings.seed, on_case=on_case, should_stop=should_stop,
                )  # fmt: skip
                break
            except OutOfMemory as error:
                if settings.batch_size or batch_size == 1:
                    raise ModelRunError(
                        f"memory of {devices.device_name(device)} does not hold a batch of {batch_size} for the model "
                        f"{model.name}",
                        hint="Set a smaller inference.batch_size."
                        if batch_size > 1
                        else "Use a device with more memory, or allow more with --memory.",
                        failure="memory",
                    ) from error
            log.warning("memory does not hold a batch of %d; starting over with %d", batch_size, batch_size // 2)
            batch_size //= 2
            clock = packaged.Clock()
            devices.free_memory(device)
        wall_s = time.perf_counter() - started

        reasons = [reason for shard in shards for reason in shard.reasons]
        packaged.require_some_output(reasons, name=model.name)
        names = next(tuple(shard.outputs) for shard in shards if shard.outputs)
        joined = packaged.join_parts(shards)
        started = time.perf_counter()
        rerun = None
        if settings.repeat:
            rerun = packaged.repeat_batch(plan, shards, model, from_files, device=here, seed=settings.seed, names=names)
        seconds["repeat_s"] = time.perf_counter() - started

    table = answers_table(cases, joined)
    record = {
        "inference": {
            "kind": "packaged",
            "device": device,
            "device_name": devices.device_name(device),
            "workers": len(workers),
            "devices": list(dict.fromkeys(str(worker.model.device) for worker in workers)),
            "precision": "package (float32)" if settings.precision == "package" else settings.precision,
            "backend": settings.backend,
            "memory_format": settings.memory_format,
            "equivalence": equivalence,
            "batch_size": batch_size,
            "shard_size": settings.cases_per_shard(model.contract, batch_size),
            "threads": threads,
            "decoders": n_decoders,
            "seed": settings.seed,
            "n_cases": len(cases),
            **failures(reasons),
            "wall_s": wall_s,
            **rate_and_latency(clock.latency, wall_s),
            "stages": {**_stages(clock), **seconds},
            "resumed_shards": n_resumed,
            "cache": None if cache is None else cache.facts,
            "shards": len(shards),
            "prepared": dict(joined.prepared),
            "rerun": rerun,
            "determinism": {
                "deterministic_algorithms": True,
                "tf32": settings.precision == "tf32",
                "cudnn_benchmark": False,
                "operations_without_deterministic_form": [*warned, *getattr(model, "warned", ())],
            },
            "versions": devices.package_versions(),
            "notes": [*notes, *remarks],
            "sandbox": getattr(model, "sandbox", "none"),
        }
    }
    masks, files = packaged.masks_of(plan, shards, work / "shards")
    return make_predictions(table, outputs=names, model=identity, record=record, masks=masks, mask_files=files)


def _stages(clock: Clock) -> dict[str, float]:
    return {
        "read_decode_s": clock.read_decode,
        "wait_s": clock.wait,
        "copy_s": clock.copy,
        "predict_s": clock.predict,
        "store_s": clock.store,
    }
