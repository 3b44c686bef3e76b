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
from evalsuite.imaging.degrade import VERSION, degrade
from evalsuite.inference.engine import predict
from evalsuite.inference.hooks import bind_inputs, default_hooks
from evalsuite.inference.predictions import Predictions, make_predictions
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.folder_model import FolderModel
from evalsuite.protocol.robustness import BATCH, Condition, Robustness, conditions_of
from evalsuite.record.digest import digest_json

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
        table = model.table
        found = set() if "condition" not in table.columns else {str(c) for c in table["condition"].dropna()}
        missing = [c.name for c in conditions_of(asked) if c.name not in found]
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
    as condition "batch" some of them once more, the last first and in batches of another size.

    Raises
    ------
    As `engine.predict`.
    """
    if model.format == "recorded":
        return clean
    cases = sampled(testset.cases[:limit], asked, seed)
    conditions = conditions_of(asked)
    shown = {_name(case, c, seed): Shown(case=case, condition=c) for case in cases for c in conditions}
    pseudo = tuple(replace(s.case, case_id=name) for name, s in shown.items())
    binding = bind_inputs(model.contract, testset.cases[:limit])
    originals = {name: s.case for name, s in shown.items()}

    def degraded(image: Image, name: str) -> Image:
        s = shown[name]
        return degrade(image, s.condition.kind, s.condition.value, seed=seed, case_id=s.case.case_id)

    hooks = default_hooks(model, binding, image_of=changed_images(originals, degraded))
    # What the cache knows a file by says nothing of what is done to its image.
    hooks = replace(hooks, decoding=None)
    common: dict[str, Any] = {"work": work, "should_stop": should_stop, "required": required}
    once = replace(settings, repeat=False)
    made = predict(model, replace(testset, cases=pseudo), settings=once, hooks=hooks, on_case=on_case, **common)
    size = int(made.record["inference"]["batch_size"])
    few = tuple(reversed(cases[:MOST_IN_BATCH_CHECK]))
    turned = predict(
        model, replace(testset, cases=few), settings=replace(once, batch_size=1 if size > 1 else 2), **common
    )
    rows = [
        as_condition(made.table, [s.case.case_id for s in shown.values()], [s.condition.name for s in shown.values()]),
        as_condition(turned.table, [c.case_id for c in few], [BATCH] * len(few)),
    ]
    facts = {
        "n_cases": len(cases),
        "conditions": [c.name for c in conditions],
        "ladders": VERSION,
        "batch_size": size,
        "wall_s": made.record["inference"]["wall_s"] + turned.record["inference"]["wall_s"],
        "n_failed": made.record["inference"]["n_failed"],
        "failed_by_reason": made.record["inference"]["failed_by_reason"],
    }
    return with_conditions(clean, rows, {**clean.record, "robustness": facts})


def _name(case: Case, condition: Condition, seed: int) -> str:
    """The name of a case in a condition: with a digest of the ladder's version, kind, amount and seed."""
    what = {"ladders": VERSION, "kind": condition.kind, "value": condition.value, "seed": seed}
    return f"{case.case_id}#{condition.name}#{digest_json(what)[:16]}"


def changed_images(originals: Mapping[str, Case], change: Callable[[Image, str], Image]) -> Callable[..., Image]:
    """Reads the image of the original of a case, by its name, and gives `change(image, name)`.

    The decoded image is kept for the next names of the same case.
    """
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
        return change(image, case.case_id)

    return image_of


def as_condition(table: pd.DataFrame, case_ids: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Rows of answers under the names of their original cases and of their conditions."""
    import pandas as pd

    return table.assign(
        case_id=pd.Series(list(case_ids), dtype=object, index=table.index),
        condition=pd.Series(list(names), dtype=object, index=table.index),
    )


def with_conditions(clean: Predictions, rows: Sequence[pd.DataFrame], record: Mapping[str, Any]) -> Predictions:
    """`clean` with rows of conditions after its own, and another record."""
    import pandas as pd

    table = pd.concat([clean.table, *rows], ignore_index=True)[list(clean.table.columns)]
    for name in ("case_id", "rater", "condition", "status", "reason"):
        table[name] = pd.Series([None if pd.isna(v) else v for v in table[name]], dtype=object)
    return make_predictions(
        table, outputs=clean.outputs, model=clean.model, record=record, masks=clean.masks, mask_files=clean.mask_files,
        lists=clean.lists,
    )  # fmt: skip
