"""The same images once more, run otherwise: again, in another number format, batch size, number of threads or device.

Unlike the check before a run (inference.equivalence), which refuses what is not the package's own answer, this measures
how far the answers are apart, whatever it comes to. Where the package or this machine does not offer a setting, every
case fails with that as its reason, so that the report says it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError, ModelRunError
from evalsuite.inference.engine import predict
from evalsuite.inference.perturbed_names import NOT_OFFERED
from evalsuite.inference.predictions import DEVICE, to_frame
from evalsuite.models.numerics import Numerics

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.protocol.robustness import Setting
    from evalsuite.testset.types import LockedTestSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """Answers in one setting, and for the record what ran."""

    table: pd.DataFrame
    mask_files: tuple[Path, ...]
    facts: dict[str, Any]


def predict_otherwise(
    model: Any,
    testset: LockedTestSet,
    setting: Setting,
    *,
    settings: InferenceSettings,
    work: Path,
    should_stop: Callable[[], bool] | None,
    required: Sequence[str] | None,
    outputs: Sequence[str],
) -> Otherwise:
    """The answers to the test set's cases where `setting` is changed and all else is as in the run (`settings`).

    Raises
    ------
    Interrupted
        If stopped; the same call goes on.
    """
    import numpy as np

    common: dict[str, Any] = {"should_stop": should_stop, "required": required}
    common["work"] = work / setting.name.replace("/", "-").replace("=", "-").replace(":", "-")
    change: dict[str, Any] = dict(setting.change)
    try:
        if "precision" in change or "backend" in change:
            threads = settings.threads or 1
            plain = replace(settings, precision="package", backend="package", memory_format="package")
            with closing(_of_its_own(model)) as other:
                asked = other.with_numerics(Numerics(**change), threads=threads)
                found = predict(asked, testset, settings=replace(plain, workers=1, threads=threads), **common)
        elif "device" in change:
            from evalsuite.inference.device import choose_device  # loads torch, which few audits need

            choose_device(change["device"])
            with closing(_of_its_own(model)) as other:
                found = predict(other.packaged, testset, settings=replace(settings, **change), **common)
        else:
            found = predict(model, testset, settings=replace(settings, **change), **common)
    except (InputError, ModelRunError) as error:
        n = len(testset.cases)
        why = f"{NOT_OFFERED}{error.message}"
        keys: dict[str, list[str | None]] = {
            "case_id": [c.case_id for c in testset.cases], "rater": [DEVICE] * n, "condition": [None] * n,
            "status": ["failed"] * n, "reason": [why] * n,
        }  # fmt: skip
        table = to_frame(keys, {name: np.full(n, np.nan) for name in outputs})
        return Otherwise(table=table, mask_files=(), facts={"not_offered": error.message})
    inference = found.record["inference"]
    facts = {key: inference[key] for key in ("device", "device_name", "batch_size", "threads", "wall_s")}
    return Otherwise(table=found.table, mask_files=found.mask_files, facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    """A package whose network may be converted or moved: in a process of its own, or in this one and moved back."""

    packaged: Any
    ends: bool

    def with_numerics(self, numerics: Numerics, *, threads: int) -> Any:
        return self.packaged.with_numerics(numerics, threads=threads)

    def close(self) -> None:
        """End the process; in this one the network goes back to where it was, because moving it moves it for all."""
        if self.ends:
            self.packaged.close()
        elif (back := getattr(self.packaged, "network", None)) is not None:
            back.to(self.packaged.device)


def _of_its_own(model: Any) -> _Own:
    if not hasattr(model, "another"):
        return _Own(packaged=model, ends=False)
    other = model.another()
    return _Own(packaged=other.to(str(model.device)), ends=True)
