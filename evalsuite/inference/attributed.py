"""Maps of a sample of cases: what it costs is said first, finished parts are kept, the reference stays closed."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.attribution.job import Attributed, Job, cost, names_of_maps, window_of
from evalsuite.attribution.scorer import Resolved, resolve
from evalsuite.errors import ContractError, ImageError, Interrupted
from evalsuite.inference import device as devices
from evalsuite.inference.attribution_files import answers_by_files
from evalsuite.inference.attribution_likeness import likenesses, random_pairs
from evalsuite.inference.attribution_store import Attributions, Part, map_name, write_map
from evalsuite.inference.hooks import Hooks, bind_inputs, default_hooks
from evalsuite.inference.perturbed import sampled
from evalsuite.inference.process import share_cores
from evalsuite.inference.staff import hire, places
from evalsuite.inference.wanted import require_wanted, stopped, wanted
from evalsuite.models.folder_model import FolderModel
from evalsuite.protocol.interpretability import GRADIENTS, SETTINGS_OF, Interpretability
from evalsuite.record.digest import digest_json
from evalsuite.record.files import atomic_write

if TYPE_CHECKING:
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.testset.types import Case, LockedTestSet

log = logging.getLogger(__name__)

#: Part of every stored part's name: raised whenever maps or values come out otherwise.
VERSION = 2
_IMAGES_AT_A_TIME = 16
#: A part that is stopped is begun anew, so that it is small where each image is shown many times.
_PASSES_AT_A_TIME = 1000
#: Every worker has something to do of few images, too; a processor needs no more of them to be busy.
_PASSES_ON_CPU = 400
#: Derivatives keep every layer's results: a larger batch is no faster on a processor, and takes twice the memory.
_BATCH_ON_CPU = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done: methods this package can be asked for, cases, target, and image passes per case."""

    asked: Interpretability
    cases: tuple[Case, ...]
    target: Resolved
    passes: Mapping[str, int]
    refused: Mapping[str, str]
    spatial: tuple[int, ...]

    @property
    def total(self) -> int:
        """Image passes of all cases."""
        return len(self.cases) * sum(self.passes.values())

    @property
    def sentence(self) -> str:
        """The cost in words, for whoever waits for it."""
        each = ", ".join(f"{k} {v:,}" for k, v in self.passes.items())
        return f"maps of {len(self.cases)} cases need {self.total:,} image passes (per case: {each})"


def require_attributable(asked: Interpretability, model: Any, *, score: str | Sequence[str] | None) -> None:
    """Nothing where no method is asked for, or the package can be asked for one of them.

    Raises
    ------
    ContractError
        Before anything is run: where it can be asked for none, or the target is none of its outputs.
    """
    if not asked.methods:
        return
    hint = "Remove the methods of analyses.interpretability"
    if model.format == "recorded":
        raise ContractError(
            "recorded predictions are answers alone: no changed image can be shown to what gave them",
            hint=f"{hint}, or run the package itself.",
        )
    if model.contract.tiled is not None:
        raise ContractError("a slide is read tile by tile, and no map is made of its tiles", hint=f"{hint}.")
    resolve(asked.target, model.contract, score)
    _possible(asked, model)


def attribute_sample(
    model: Any,
    testset: LockedTestSet,
    asked: Interpretability,
    *,
    score: str | Sequence[str] | None,
    settings: InferenceSettings,
    work: Path,
    seed: int,
    limit: int | None = None,
    on_pass: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Attributions:
    """Maps and measures of a sample of the set's cases; finished parts in `work` are not made again.

    Parameters
    ----------
    score
        `task.score`, which says what the target is where the block does not.
    on_pass
        Called with (image passes done, image passes in all), the first time before any was made.

    Raises
    ------
    ContractError
        If the package cannot be asked for any of the methods, or the target is none of its outputs.
    ModelRunError
        If the model fails.
    Interrupted
        If stopped; the same call goes on.
    """
    cases = sampled(testset.cases[:limit], asked, seed, purpose="maps")
    hooks = default_hooks(model, bind_inputs(model.contract, testset.cases[:limit]))
    if isinstance(model, FolderModel):
        settings = replace(settings, device="cpu", workers=None)
        model, hooks = answers_by_files(model, cases, bind_inputs(model.contract, testset.cases[:limit]), hooks)
    where, remarks = places(model, devices.choose_devices(settings.device), settings)
    model, notes = devices.place(model, where[0], settings)
    on_cpu = not str(model.device).startswith("cuda")
    if on_cpu:
        where = ["cpu"] * (settings.workers or 1)
    threads, _ = share_cores(on_cpu=on_cpu, threads=settings.threads, decoders=settings.decoders, workers=len(where))
    model = model.with_threads(threads)
    batch, most_passes = _sizes(model, settings, on_cpu=on_cpu)
    made: list[Part] = []
    plan: Plan | None = None
    failed: Counter[str] = Counter()
    with devices.deterministic(seed=settings.seed, threads=threads), _Crew(should_stop) as crew:
        workers = [worker.model for worker in hire(model, where, settings, threads=threads, most=len(cases))]
        crew.start(workers)
        for group in _groups(cases, hooks, failed, at_a_time=partial(_at_a_time, asked, passes=most_passes)):
            require_wanted(crew.unwanted)
            if plan is None:
                spatial = group.inputs[model.contract.inputs[0].name].shape[2:]
                plan = plan_of(model, asked, cases, spatial, score=score)
                log.info("%s", plan.sentence)
                if on_pass is not None:
                    on_pass(0, plan.total)
            ask = partial(
                _part, testset=testset, plan=plan, group=group, batch=batch, seed=seed, work=work, threads=threads,
                should_stop=crew.unwanted,
            )  # fmt: skip
            try:
                finished = crew.ask(ask)
            except KeyboardInterrupt:
                raise stopped() from None
            made += finished
            if on_pass is not None:
                on_pass(sum(len(part.cases) for part in made) * sum(plan.passes.values()), plan.total)
        made += crew.rest()
    resumed = sum(part.resumed for part in made)
    done = sum(len(part.cases) for part in made)
    if on_pass is not None and plan is not None:
        on_pass(plan.total, plan.total)
    if plan is None:
        raise ContractError(
            f"not one of the {len(cases)} cases of the sample could be read, so that there is no map of any",
            hint=f"Their images: {', '.join(f'{k}: {v}' for k, v in sorted(failed.items()))}.",
        )
    values = [row for part in made for row in part.rows()]
    values += random_pairs(plan.asked, made, seed)
    passes = sum((Counter(part.found.passes) for part in made), Counter[str]())
    record = {
        "n_cases": done,
        "n_patients": len({c.patient_id for part in made for c in part.cases}),
        "failed_by_reason": dict(sorted(failed.items())),
        "target": plan.target.words,
        "planned_passes_per_case": dict(plan.passes),
        "planned_passes": plan.total,
        "passes": dict(passes),
        "resumed_parts": resumed,
        "batch_size": batch,
        "version": VERSION,
        "refused": dict(plan.refused),
        "methods": _facts(plan, made),
        "workers": len(where),
        "notes": [*notes, *remarks, *getattr(model, "remarks", ())],
    }
    maps = {n: {c.case_id: part.files[n][i] for part in made for i, c in enumerate(part.cases)} for n in made[0].files}
    return Attributions(maps=maps, values=tuple(values), asked=plan.asked, target=plan.target.words, record=record)


def plan_of(
    model: Any,
    asked: Interpretability,
    cases: Sequence[Case],
    spatial: Sequence[int],
    *,
    score: str | Sequence[str] | None,
) -> Plan:
    """What this package can be asked for, and its cost.

    Raises
    ------
    ContractError
        If it can be asked for none of the methods, or the target is none of its outputs.
    """
    target = resolve(asked.target, model.contract, score)
    can, refused = _possible(asked, model)
    if "road" in can.measures and len(spatial) != 2:
        refused["road"] = "the imputation of ROAD is defined for plane images"
        can = can.model_copy(update={"measures": [m for m in can.measures if m != "road"]})
    return Plan(
        asked=can, cases=tuple(cases), target=target, passes=cost(can, spatial), refused=refused, spatial=tuple(spatial)
    )


def _possible(asked: Interpretability, model: Any) -> tuple[Interpretability, dict[str, str]]:
    """What of the block this package can be asked for, and why not the rest."""
    from evalsuite.attribution.run import refusals

    ask = getattr(model, "refusals", None)
    said = ask(asked.methods) if ask is not None else refusals(asked.methods, model)
    refused = {m.label: why for m, why in zip(asked.methods, said, strict=False) if why is not None}
    possible = [m for m in asked.methods if m.label not in refused]
    measures = list(asked.measures)
    if said[-1] is not None and "randomisation" in measures:
        refused["randomisation"] = said[-1]
        measures.remove("randomisation")
    if not possible:
        why = "; ".join(f"{k}: {v}" for k, v in refused.items())
        raise ContractError(
            f"{model.name} can be asked for none of the methods of analyses.interpretability ({why})",
            hint=f"Without derivatives these remain: occlusion, feature_ablation, rise (not {', '.join(GRADIENTS)}).",
        )
    # what the maps are compared with is no business of whoever makes them
    only = {"methods": possible, "measures": measures, "shortcuts": (), "localisation": None, "groups": None}
    return asked.model_copy(update=only), refused


# --- parts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Cases whose images have one size, read and stacked: input name → (n, channel, *spatial)."""

    cases: tuple[Case, ...]
    inputs: dict[str, np.ndarray]


def _sizes(model: Any, settings: InferenceSettings, *, on_cpu: bool) -> tuple[int, int]:
    """Images of a batch, and image passes of a part."""
    per_call: int | None = getattr(model, "per_call", None)  # a program that is started for each call
    batch = per_call or settings.first_batch(model.contract, on_cpu=on_cpu)
    if per_call or not on_cpu:
        return batch, _PASSES_AT_A_TIME
    return settings.batch_size or min(batch, _BATCH_ON_CPU), _PASSES_ON_CPU


def _at_a_time(asked: Interpretability, spatial: Sequence[int], *, passes: int = _PASSES_AT_A_TIME) -> int:
    """How many images of this size make a part: a volume, or planes that are shown some thousand times in all."""
    if len(spatial) != 2:
        return 1
    return max(1, min(_IMAGES_AT_A_TIME, passes // sum(cost(asked, spatial).values())))


def _groups(
    cases: Sequence[Case], hooks: Hooks, failed: Counter[str], *, at_a_time: Callable[[Sequence[int]], int]
) -> Iterator[_Group]:
    """The cases in order, cut where there are enough or the size changes; cases that cannot be read are counted."""
    waiting: list[tuple[Case, dict[str, np.ndarray]]] = []

    def stacked() -> _Group:
        names = waiting[0][1]
        found = _Group(
            cases=tuple(c for c, _ in waiting), inputs={n: np.stack([a[n] for _, a in waiting]) for n in names}
        )
        waiting.clear()
        return found

    for case in cases:
        try:
            arrays = dict(hooks.read(case))
        except ImageError as error:
            failed[error.code or "unreadable"] += 1
            continue
        if waiting and any(
            a.shape != waiting[0][1][n].shape or a.dtype != waiting[0][1][n].dtype for n, a in arrays.items()
        ):
            yield stacked()
        waiting.append((case, arrays))
        if len(waiting) >= at_a_time(next(iter(arrays.values())).shape[1:]):
            yield stacked()
    if waiting:
        yield stacked()


class _Crew:
    """Workers that make parts beside each other, each one at a time; parts come back in the order they were asked for.

    One worker works in this thread, so that a second Ctrl-C ends it at once.
    """

    def __init__(self, should_stop: Callable[[], bool] | None) -> None:
        self._should_stop = should_stop
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        self._free: SimpleQueue[Any] = SimpleQueue()
        self._asked: deque[Future[Part]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._n = 1

    def start(self, workers: Sequence[Any]) -> None:
        for worker in workers:
            self._free.put(worker)
        self._n = len(workers)
        if self._n > 1:
            self._pool = ThreadPoolExecutor(max_workers=self._n, thread_name_prefix="maps")

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()  # whoever still works for a run that has failed or was stopped ends too
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def unwanted(self) -> bool:
        """Whether nobody waits for parts any more. From any thread."""
        return self._over.is_set() or (self._should_stop is not None and self._should_stop())

    def ask(self, make: Callable[[Any], Part]) -> list[Part]:
        """Have a part made; the parts that are finished meanwhile."""
        if self._pool is None:
            return [self._made(make)]
        self._asked.append(self._pool.submit(self._made, make))
        return [self._result(self._asked.popleft())] if len(self._asked) > self._n else []

    def rest(self) -> list[Part]:
        """The parts that were still being made."""
        found = [self._result(future) for future in self._asked]
        self._asked.clear()
        return found

    def _result(self, future: Future[Part]) -> Part:
        """A part; where one failed, its error, and not that others stopped because of it."""
        try:
            return future.result()
        except Interrupted:
            raise self._errors[0] from None

    def _made(self, make: Callable[[Any], Part]) -> Part:
        worker = self._free.get()
        try:
            return make(worker)
        except BaseException as error:
            self._errors.append(error)
            self._over.set()  # the others need not go on
            raise
        finally:
            self._free.put(worker)


def _part(
    model: Any, *, testset: LockedTestSet, plan: Plan, group: _Group, batch: int, seed: int, work: Path, threads: int,
    should_stop: Callable[[], bool],
) -> Part:  # fmt: skip
    """One group's maps and values, from `work` where they lie there already; Interrupted where it is wanted no more."""
    seeds = tuple(_seed_of(seed, case.case_id) for case in group.cases)
    job = Job(
        asked=plan.asked, seeds=seeds, output=plan.target.output, channels=plan.target.channels, batch_size=batch,
        seed=seed % 2**31,
    )  # fmt: skip
    key = digest_json(
        {
            "version": VERSION,
            "model": model.digest,
            "contract": model.contract_digest,
            "testset": testset.root,
            "cases": [case.case_id for case in group.cases],
            "job": job.to_json(),
            "device": str(model.device).partition(":")[0],
            "threads": threads,
            "versions": devices.package_versions() | _captum_version(),
        }
    )
    path = work / f"{key[:40]}.json"
    found = _read_part(path)
    known = found is not None and all(f.exists() for files in _files(plan, group, path).values() for f in files)
    if found is not None and known:
        return Part(cases=group.cases, found=found, files=_files(plan, group, path), resumed=True)
    attribute_stored = getattr(model, "attribute_stored", None)
    if attribute_stored is not None:
        made = attribute_stored(group.inputs, job, n_passes=sum(plan.passes.values()), should_stop=should_stop)
    else:
        made = _here(wanted(model, should_stop), group.inputs, job)
    files = _files(plan, group, path)
    for label, of_cases in files.items():
        for i, place in enumerate(of_cases):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_map(made.maps[label][i], place)
    found = replace(made, maps={}, values=made.values | likenesses(plan.asked, made, len(group.cases)))
    atomic_write(path, _packed(found))  # last: where it lies, everything of the part does
    return Part(cases=group.cases, found=found, files=files)


def _files(plan: Plan, group: _Group, path: Path) -> dict[str, list[Path]]:
    """Where each map of a part lies."""
    labels = [n for n in names_of_maps(plan.asked) if "@" not in n]
    return {n: [path.parent / path.stem / n / map_name(case.case_id) for case in group.cases] for n in labels}


def _here(model: Any, inputs: Mapping[str, np.ndarray], job: Job) -> Attributed:
    import torch

    from evalsuite.attribution.run import attribute
    from evalsuite.models.preprocess import normalise

    tensors = [normalise(torch.from_numpy(inputs[spec.name]).to(model.device), spec) for spec in model.contract.inputs]
    return attribute(model, tensors, job)


def _seed_of(seed: int, case_id: str) -> int:
    """A case's own seed, so that its maps do not depend on the others of its batch; below 2^31 for any generator."""
    return int.from_bytes(hashlib.sha256(f"{seed}:attribution:{case_id}".encode()).digest()[:4], "big") >> 1


def _captum_version() -> dict[str, str]:
    from importlib import metadata

    try:
        return {"captum": metadata.version("captum")}
    except metadata.PackageNotFoundError:
        return {}


def _packed(found: Attributed) -> bytes:
    values = [
        [*key, [v if math.isfinite(v) else None for v in column.tolist()]] for key, column in found.values.items()
    ]
    return json.dumps({"passes": found.passes, "notes": found.notes, "values": values}, allow_nan=False).encode()


def _read_part(path: Path) -> Attributed | None:
    """The values of a stored part; None where there is none, or it is damaged and will be made again."""
    try:
        stored = json.loads(path.read_bytes())
        values = {
            (map_, measure, variant): np.array([np.nan if v is None else v for v in column], dtype=np.float64)
            for map_, measure, variant, column in stored["values"]
        }
        return Attributed(maps={}, values=values, passes=stored["passes"], notes=stored["notes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _facts(plan: Plan, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """For the record: each method with everything that decides its maps, as it was used, and nothing that does not."""
    rows = []
    for m in plan.asked.methods:
        used = {k: v for k, v in m.model_dump(mode="json").items() if k in SETTINGS_OF and m.method in SETTINGS_OF[k]}
        used |= {"samples": m.draws} if "samples" in used else {}
        if m.method == "occlusion":
            sides, steps = window_of(m, plan.spatial)
            used |= {"window": " × ".join(map(str, sides)), "stride": " × ".join(map(str, steps))}
        found = sorted({part.found.notes.get(m.label, "") for part in parts} - {""})
        if "layer" in used:
            used["layer"] = "; ".join(found).removeprefix("layer ")
        sign = "positive" if m.method == "grad_cam" else m.sign
        rows.append({"name": m.label, "method": m.method, **used, "sign": sign, "normalisation": "none"})
    return rows
