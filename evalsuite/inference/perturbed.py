"""The model on degraded images: a sample of cases, each shown again in every condition, through the same engine.

The degradation lies between decoding and the contract's preprocessing, as if the file had held the worse image. A case
in a condition is a case of its own to the engine; its name has the digest of all that decides the image, and so has
each stored part of the run.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evalsuite.errors import ContractError, InputError
from evalsuite.imaging import Image, read_files
from evalsuite.imaging.degrade import MOVING, VERSION, degrade
from evalsuite.imaging.stored_otherwise import WAYS, stored_otherwise
from evalsuite.inference.engine import predict
from evalsuite.inference.equivalence import LARGE_COMPARED
from evalsuite.inference.hooks import bind_inputs, default_hooks
from evalsuite.inference.mask_store import file_digests, masks_digest
from evalsuite.inference.perturbed_names import mask_name, shown_as
from evalsuite.inference.precision import predict_otherwise
from evalsuite.inference.predictions import Predictions, make_predictions
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.folder_model import FolderModel
from evalsuite.protocol.robustness import (
    BATCH,
    OWN,
    Condition,
    Robustness,
    Setting,
    conditions_of,
    names_of,
    settings_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.testset.types import Case, LockedTestSet

#: Cases whose answers are compared when computed in another order and number.
MOST_IN_BATCH_CHECK = 64
_KEPT_IMAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A case in a condition."""

    case: Case
    condition: Condition


def require_perturbable(asked: Robustness, model: Any) -> None:
    """ContractError or InputError where the images of a package cannot be degraded before it sees them.

    Recorded predictions must have rows of every condition.
    """
    if model.format == "recorded":
        if getattr(model, "files", {}) and not getattr(model, "place", ()):
            raise InputError(
                "Recorded masks are read without conditions, so that there are none of degraded images.",
                hint="Remove analyses.robustness, or run the package itself.",
            )
        table = model.table
        found = set() if "condition" not in table.columns else {str(c) for c in table["condition"].dropna()}
        missing = [name for name in names_of(asked) if name not in found]
        if missing:
            raise InputError(
                f"The recorded predictions have no rows of {len(missing)} conditions that analyses.robustness asks "
                f"for: {', '.join(missing[:8])}{', …' if len(missing) > 8 else ''}.",
                hint="Record the device's answers on the degraded images with these names in the column condition, or "
                "run the package itself.",
            )
    elif isinstance(model, FolderModel):
        raise ContractError(
            f"{model.name} reads the image files itself, so that they cannot be degraded on the way",
            hint="Remove analyses.robustness, or record its answers on degraded images.",
        )
    elif len(model.contract.inputs) > 1 and (moved := [c.kind for c in conditions_of(asked) if c.kind in MOVING]):
        raise ContractError(
            f"{model.name} takes several images of a case, and {', '.join(dict.fromkeys(moved))} would move each by "
            "itself",
            hint="Leave these out of analyses.robustness: images of one case must stay in place to each other.",
        )
    elif model.contract.tiled is not None:
        raise ContractError(
            "a slide is read tile by tile, and tiles are not degraded by this version",
            hint="Remove analyses.robustness.",
        )


class AsksForCases(Protocol):
    """Settings of an analysis that shows some of the cases again: how many at most."""

    @property
    def cases(self) -> int: ...


def sampled(cases: Sequence[Case], asked: AsksForCases, seed: int, *, purpose: str = "robustness") -> tuple[Case, ...]:
    """At most `asked.cases` cases of whole patients, by a draw from seed and patient ids alone; in the set's order.

    One patient is always taken, with the first of the cases where there are more than asked for. Each `purpose` has a
    draw of its own.
    """

    def place(patient: str) -> str:
        return hashlib.sha256(f"{seed}:{purpose}:{patient}".encode()).hexdigest()

    of_patient: dict[str, list[Case]] = {}
    for case in cases:
        of_patient.setdefault(case.patient_id, []).append(case)
    chosen: set[str] = set()
    for patient in sorted(of_patient, key=place):
        mine = [c.case_id for c in of_patient[patient]]
        if len(chosen) + len(mine) <= asked.cases:
            chosen.update(mine)
        elif not chosen:
            chosen.update(mine[: asked.cases])
    return tuple(case for case in cases if case.case_id in chosen)


def predict_perturbed(
    model: Any,
    testset: LockedTestSet,
    asked: Robustness,
    clean: Predictions,
    *,
    settings: InferenceSettings,
    work: Path,
    seed: int,
    limit: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    required: Sequence[str] | None = None,
) -> Predictions:
    """`clean` with the answers of every condition added as rows of that `condition`; `record` gains `robustness`.

    The answers of recorded predictions are there already. The unchanged images are run again too, in other company, and
    as condition "batch" some of them once more, the last first and in batches of another size; then those of
    `asked.precision` by themselves, as the run was ("own") and in every setting. Masks lie beside those of the
    unchanged images, under the names `shown_as` and `mask_name`.

    Raises
    ------
    As `engine.predict`.
    """
    if model.format == "recorded":
        return clean
    cases = sampled(testset.cases[:limit], asked, seed)
    conditions = conditions_of(asked)
    shown = {shown_as(case.case_id, c, seed): Shown(case=case, condition=c) for case in cases for c in conditions}
    pseudo = tuple(replace(s.case, case_id=name) for name, s in shown.items())
    binding = bind_inputs(model.contract, testset.cases[:limit])
    originals = {name: s.case for name, s in shown.items()}

    def degraded(image: Image, name: str, column: str, spec: Any) -> Image:
        s = shown[name]
        if s.condition.kind in WAYS:
            work.mkdir(parents=True, exist_ok=True)
            return stored_otherwise(image, s.condition.kind, spec=spec, folder=work)
        # Images of one case get noise of their own.
        drawn_for = s.case.case_id if len(s.case.images) < 2 else f"{s.case.case_id}/{column}"
        return degrade(image, s.condition.kind, s.condition.value, seed=seed, case_id=drawn_for)

    hooks = default_hooks(model, binding, image_of=_images(originals, degraded))
    # What the cache knows a file by says nothing of what is done to its image.
    hooks = replace(hooks, decoding=None)
    common: dict[str, Any] = {"work": work, "should_stop": should_stop, "required": required}
    once = replace(settings, repeat=False)
    made = predict(model, replace(testset, cases=pseudo), settings=once, hooks=hooks, on_case=on_case, **common)
    size = int(made.record["inference"]["batch_size"])
    few = tuple(reversed(cases[: LARGE_COMPARED if model.contract.is_volume else MOST_IN_BATCH_CHECK]))
    turned = predict(
        model,
        replace(testset, cases=tuple(replace(c, case_id=mask_name(c.case_id, BATCH)) for c in few)),
        settings=replace(once, batch_size=1 if size > 1 else 2),
        **common,
    )
    rows = [
        as_condition(made.table, [s.case.case_id for s in shown.values()], [s.condition.name for s in shown.values()]),
        as_condition(turned.table, [c.case_id for c in few], [BATCH] * len(few)),
    ]
    files = [*clean.mask_files, *made.mask_files, *turned.mask_files]
    otherwise: dict[str, Any] = {}
    if asked.precision is not None:
        few = cases[: asked.precision.cases]
        for setting in (Setting(name=OWN, change={}), *settings_of(asked)):
            again = tuple(replace(c, case_id=mask_name(c.case_id, setting.name)) for c in few)
            ran = predict_otherwise(
                model, replace(testset, cases=again), setting, settings=replace(once, batch_size=size),
                work=work / "precision", should_stop=should_stop, required=required, outputs=clean.outputs,
            )  # fmt: skip
            rows.append(as_condition(ran.table, [c.case_id for c in few], [setting.name] * len(few)))
            files += ran.mask_files
            otherwise[setting.name] = ran.facts
    facts = {
        "n_cases": len(cases),
        "conditions": [c.name for c in conditions],
        "ladders": VERSION,
        "batch_size": size,
        "wall_s": made.record["inference"]["wall_s"] + turned.record["inference"]["wall_s"],
        "n_failed": made.record["inference"]["n_failed"],
        "failed_by_reason": made.record["inference"]["failed_by_reason"],
        **({"precision": otherwise} if otherwise else {}),
    }
    return with_conditions(clean, rows, {**clean.record, "robustness": facts}, files)


def changed_images(originals: Mapping[str, Case], change: Callable[[Image, str], Image]) -> Callable[..., Image]:
    """Reads the image of the original of a case, by its name, and gives `change(image, name)`.

    The decoded image is kept for the next names of the same case.
    """
    return _images(originals, lambda image, name, column, spec: change(image, name))


def _images(originals: Mapping[str, Case], change: Callable[[Image, str, str, Any], Image]) -> Callable[..., Image]:
    """`changed_images` whose change knows the image's column and how it is read."""
    kept: OrderedDict[tuple[str, str], Image] = OrderedDict()
    lock = threading.Lock()

    def image_of(case: Case, column: str, paths: Sequence[Path], spec: Any) -> Image:
        original = originals[case.case_id].case_id
        key = (original, column)
        with lock:
            image = kept.get(key)
        if image is None:
            image = read_files(paths, spec=spec, name=f"case {original}, column {column},")
            with lock:
                kept[key] = image
                while len(kept) > _KEPT_IMAGES:
                    kept.popitem(last=False)
        return change(image, case.case_id, column, spec)

    return image_of


def as_condition(table: pd.DataFrame, case_ids: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Rows of answers under the names of their original cases and of their conditions."""
    import pandas as pd

    return table.assign(
        case_id=pd.Series(list(case_ids), dtype=object, index=table.index),
        condition=pd.Series(list(names), dtype=object, index=table.index),
    )


def with_conditions(
    clean: Predictions,
    rows: Sequence[pd.DataFrame],
    record: Mapping[str, Any],
    mask_files: Sequence[Path] | None = None,
) -> Predictions:
    """`clean` with rows of conditions after its own, another record, and all masks where there are more than its."""
    import pandas as pd

    files = clean.mask_files if mask_files is None else tuple(mask_files)
    masks = clean.masks
    if masks is not None and files != clean.mask_files:
        masks = masks_digest(digest for file in files for digest in file_digests(file) or ())
    table = pd.concat([clean.table, *rows], ignore_index=True)[list(clean.table.columns)]
    for name in ("case_id", "rater", "condition", "status", "reason"):
        table[name] = pd.Series([None if pd.isna(v) else v for v in table[name]], dtype=object)
    return make_predictions(
        table, outputs=clean.outputs, model=clean.model, record=record, masks=masks, mask_files=files,
        lists=clean.lists,
    )  # fmt: skip
