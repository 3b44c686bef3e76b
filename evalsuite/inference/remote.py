"""Predictions by the workers of a cluster: the same stages as in one process, the same shards, the same bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import InputError, ModelRunError
from evalsuite.inference import packaged
from evalsuite.inference.distributed import Totals, computed, run_shards, work_of
from evalsuite.inference.hooks import bind_inputs
from evalsuite.inference.predictions import Predictions, make_predictions
from evalsuite.inference.probe import N_PROBED
from evalsuite.inference.runners.base import Runner
from evalsuite.inference.runners.worker import PackageWorker
from evalsuite.inference.settings import InferenceSettings
from evalsuite.inference.step import OutOfMemory
from evalsuite.inference.summary import answers_table, failures, rate_and_latency, require_outputs
from evalsuite.models.address import is_address
from evalsuite.sandbox.policy import SANDBOXED, Sandbox
from evalsuite.testset.places import locked_digests

if TYPE_CHECKING:
    from evalsuite.testset.types import Case, LockedTestSet

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Who computes, and where the package lies: under the same path on every machine."""

    runner: Runner
    model_path: Path
    contract: Path | None = None
    sandbox: Sandbox = SANDBOXED


def predict_on(
    cluster: Cluster,
    model: Any,
    testset: LockedTestSet,
    cases: Sequence[Case],
    identity: Mapping[str, Any],
    *,
    settings: InferenceSettings,
    work: Path,
    on_case: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
    required: Sequence[str] | None,
) -> Predictions:
    """As `engine.predict` of a packaged model; `model` is the package as the driver opened it."""
    if not settings.numerics.as_packaged:
        raise InputError(
            "another precision, backend or memory layout is compared with the package's own in one process",
            hint="Use --runner local, or run the model as it is packaged.",
        )
    digests = locked_digests(testset)
    settings = replace(settings, threads=settings.threads or 1)
    make = PackageWorker(
        path=str(cluster.model_path if is_address(cluster.model_path) else cluster.model_path.resolve()),
        contract=None if cluster.contract is None else str(cluster.contract.resolve()),
        digest=model.digest,
        contract_digest=model.contract_digest,
        settings=settings,
        binding=bind_inputs(model.contract, cases),
        sandbox=cluster.sandbox,
    )
    seconds: dict[str, float] = {}
    totals = Totals()
    with cluster.runner.start(
        make,
        threads=settings.threads or 1,
        gpu=settings.device != "cpu",
        most=-(-len(cases) // settings.shard_size),
        should_stop=should_stop,
    ) as workers:
        started = time.perf_counter()
        facts = workers.facts()
        seconds["start_s"] = time.perf_counter() - started
        started = time.perf_counter()
        spread = np.unique(np.linspace(0, len(cases) - 1, min(N_PROBED, len(cases))).round().astype(int))
        outputs = workers.probe(work_of([cases[i] for i in spread], -1, digests))
        require_outputs(required, outputs or tuple(model.contract.columns))
        seconds["probe_s"] = time.perf_counter() - started
        batch_size = settings.first_batch(model.contract, on_cpu=not facts.device.startswith("cuda"))
        started = time.perf_counter()
        while True:
            plan = packaged.make_plan(
                cases,
                batch_size=batch_size,
                shard_size=settings.cases_per_shard(model.contract, batch_size),
                model=model,
                testset=testset.root,
                policy={**facts.policy, "batch_size": batch_size},
            )
            try:
                shards, n_resumed = run_shards(
                    plan, workers, folder=work / "shards", digests=digests, outputs=outputs, totals=totals,
                    on_case=on_case, should_stop=should_stop,
                )  # fmt: skip
                break
            except OutOfMemory as error:
                if settings.batch_size or batch_size == 1:
                    raise ModelRunError(
                        f"memory of {facts.device_name} does not hold a batch of {batch_size} for the model "
                        f"{model.name}",
                        hint="Set a smaller inference.batch_size, or use devices with more memory.",
                        failure="memory",
                    ) from error
            log.warning("memory does not hold a batch of %d; starting over with %d", batch_size, batch_size // 2)
            batch_size //= 2
            totals = Totals()
        wall_s = time.perf_counter() - started
        reasons = [reason for shard in shards for reason in shard.reasons]
        packaged.require_some_output(reasons, name=model.name)
        names = next(tuple(shard.outputs) for shard in shards if shard.outputs)
        joined = packaged.join_parts(shards)
        started = time.perf_counter()
        rerun = None
        if settings.repeat:
            i, start, once_more = packaged.draw_batch(plan, shards, seed=settings.seed)
            again = dict(computed(once_more, [0], workers, digests=digests, outputs=names, totals=Totals()))
            rerun = packaged.compare_batch(shards[i], start, again[0])
        seconds["repeat_s"] = time.perf_counter() - started
        n_workers = workers.size()
    record = {
        "inference": {
            "kind": "packaged",
            "runner": {
                "name": cluster.runner.name,
                "workers": n_workers,
                "leases": totals.leases,
                "workers_lost": totals.lost,
            },
            "device": facts.device,
            "device_name": facts.device_name,
            "precision": "package (float32)",
            "backend": settings.backend,
            "memory_format": settings.memory_format,
            "equivalence": None,
            "batch_size": batch_size,
            "shard_size": settings.cases_per_shard(model.contract, batch_size),
            "threads": facts.threads,
            "decoders": facts.decoders,
            "seed": settings.seed,
            "n_cases": len(cases),
            **failures(reasons),
            "wall_s": wall_s,
            **rate_and_latency(totals.latency, wall_s),
            "stages": {**{f"{name}_s": value for name, value in sorted(totals.seconds.items())}, **seconds},
            "resumed_shards": n_resumed,
            "cache": None,
            "shards": len(shards),
            "prepared": dict(joined.prepared),
            "rerun": rerun,
            "determinism": {
                "deterministic_algorithms": True,
                "tf32": False,
                "cudnn_benchmark": False,
                "operations_without_deterministic_form": list(totals.warned),
            },
            "versions": dict(facts.versions),
            "notes": list(facts.notes),
            "sandbox": getattr(model, "sandbox", "none"),
        }
    }
    masks, files = packaged.masks_of(plan, shards, work / "shards")
    return make_predictions(
        answers_table(cases, joined), outputs=names, model=dict(identity), record=record, masks=masks, mask_files=files
    )
