"""What a device is compared with: another model on the same test set, or the sealed predictions of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError
from evalsuite.protocol.comparisons import BASELINE, ORIGINAL
from evalsuite.record.canonical import read_json
from evalsuite.sandbox.policy import SANDBOXED, Sandbox
from evalsuite.spine.folder import RunFolder, require_intact

if TYPE_CHECKING:
    from evalsuite.inference.predictions import Predictions
    from evalsuite.inference.remote import Cluster
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.models.base import AnyModel
    from evalsuite.testset import LockedTestSet


_TIMED = ("latency_ms", "cases_per_s", "wall_s", "devices", "device", "precision", "batch_size", "workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A baseline that was opened but not run: either a model, or the predictions of a run.

    `digest` is that of its model, whichever it is; `facts` go into the record and the evidence's reader sees them.
    `original` is the version that was first authorised, where the candidate is compared with that one too.
    """

    digest: str
    facts: Mapping[str, Any]
    model: AnyModel | None
    predictions: Predictions | None
    original: Baseline | None = None

    @property
    def bound(self) -> str:
        """What a freeze, a run and the ledger bind: this digest, and that of the original version."""
        return bound_digest(self.digest, None if self.original is None else self.original.digest)

    @property
    def named(self) -> dict[str, Baseline]:
        """Both devices, by what the protocol and the run folder call them."""
        return {BASELINE: self, **({} if self.original is None else {ORIGINAL: self.original})}


def bound_digest(baseline: str, original: str | None) -> str:
    """One text for all that a candidate is compared with."""
    return baseline if original is None else f"{baseline} and original {original}"


def recorded_digest(record: Mapping[str, Any]) -> str | None:
    """`bound` of the devices that a run's record names; None where it compared with none."""
    if "baseline" not in record:
        return None
    return bound_digest(record["baseline"]["digest"], (record.get("original") or {}).get("digest"))


def open_baseline(
    path: Path,
    *,
    testset: LockedTestSet,
    contract: Path | None,
    limit: int | None,
    sandbox: Sandbox = SANDBOXED,
) -> Baseline:
    """The baseline at `path`: a finished or predicted run of this test set, a packaged model, or recorded predictions.

    Raises
    ------
    InputError
        If the run is of another test set or another number of cases, or `path` is nothing that predicts.
    IntegrityError
        If the run is not as it was sealed.
    """
    from evalsuite.sandbox.open import open_model

    if is_run(path):
        return _of_run(RunFolder(path), testset, limit)
    model = open_model(path, contract=contract, case_column=testset.lock["columns"]["case"], sandbox=sandbox)
    facts = {
        "source": "model",
        "name": model.name,
        "format": model.format,
        "digest": model.digest,
        "contract_digest": model.contract_digest,
        "contract": model.contract.model_dump(mode="json"),
        "size_bytes": model.size_bytes,
    }
    return Baseline(digest=model.digest, facts=facts, model=model, predictions=None)


def is_run(path: Path) -> bool:
    """Whether a run with predictions lies there, rather than a model."""
    return path.is_dir() and RunFolder(path).predictions.exists() and RunFolder(path).record.exists()


def _of_run(folder: RunFolder, testset: LockedTestSet, limit: int | None) -> Baseline:
    from evalsuite.inference.mask_store import with_masks
    from evalsuite.inference.predictions import read_predictions

    require_intact(folder)
    record = read_json(folder.record)
    if record["testset"]["root"] != testset.root:
        raise InputError(
            f"The baseline run {folder.path} is of another test set.",
            hint="A paired comparison needs both devices on the same cases: run the baseline on this set.",
        )
    if record["limit"] != limit:
        raise InputError(
            f"The baseline run {folder.path} has another --limit than this comparison.",
            hint="Both devices are compared on the same cases.",
        )
    model = record["model"]
    facts = {
        "source": "run",
        "run": record["run"]["id"],
        **{k: model.get(k) for k in ("name", "format", "digest", "contract_digest", "contract", "size_bytes")},
        "inference": timed(record.get("inference") or {}),
    }
    predictions = with_masks(read_predictions(folder.predictions), folder.arrays)
    return Baseline(digest=model["digest"], facts=facts, model=None, predictions=predictions)


def timed(inference: Mapping[str, Any]) -> dict[str, Any]:
    """What a run recorded of how long the model took, and on what."""
    return {k: inference[k] for k in _TIMED if k in inference}


def baseline_predictions(
    baseline: Baseline,
    testset: LockedTestSet,
    *,
    settings: InferenceSettings,
    work: Path,
    limit: int | None,
    on_case: Callable[[int, int], None],
    should_stop: Callable[[], bool] | None,
    required: Sequence[str] | None = None,
    coordinates: str | None = None,
    cluster: Cluster | None = None,
) -> Predictions:
    """Its outputs on the test set: those of the run, or made now (resumable, in the folder `work`).

    `required` names the output that marks or masks are recorded in, `coordinates` what the places of marks count from.
    """
    from evalsuite.inference.engine import predict as engine_predict

    if baseline.predictions is not None:
        return baseline.predictions
    assert baseline.model is not None, "a baseline has a model or predictions"
    return engine_predict(
        baseline.model,
        testset,
        settings=settings,
        work=work,
        limit=limit,
        on_case=on_case,
        should_stop=should_stop,
        required=required,
        coordinates=coordinates,
        cluster=None if baseline.model.format == "recorded" else cluster,
    )
