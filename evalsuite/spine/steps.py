"""The stages for use from Python, each with its result in hand rather than in a run folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.types import Evidence, Verdict

if TYPE_CHECKING:
    from evalsuite.inference.predictions import Predictions
    from evalsuite.models.base import AnyModel
    from evalsuite.testset import LockedTestSet


def predict(
    model: AnyModel,
    testset: LockedTestSet,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    cache: Path | None = None,
    work: Path | None = None,
    limit: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run `model` on every case of `testset`.

    With `work` (a folder) an interrupted call goes on where it stopped; without it, intermediate shards are temporary.
    Masks a model draws are kept in `work` (see `evalsuite.inference.mask_store.read_masks`); without it only the
    columns counted from them remain. The reference standard is not opened.

    `workers` processes hold the model, one per device where it is None; `cache` is a folder that keeps decoded images
    for further runs. Neither changes a result.

    Raises ModelError, ContractError, IntegrityError.
    """
    from evalsuite.inference.engine import predict as engine_predict
    from evalsuite.inference.settings import InferenceSettings

    settings = InferenceSettings(device=device, batch_size=batch_size, workers=workers, cache=cache)
    if work is not None:
        return engine_predict(model, testset, settings=settings, work=work, limit=limit, on_case=on_case)
    with tempfile.TemporaryDirectory(prefix="evalsuite-") as folder:
        made = engine_predict(model, testset, settings=settings, work=Path(folder), limit=limit, on_case=on_case)
        return replace(made, mask_files=())  # the folder goes


def evaluate(
    protocol: StudyProtocol,
    testset: LockedTestSet,
    predictions: Predictions,
    *,
    baseline: Predictions | None = None,
    original: Predictions | None = None,
    actor: str = "",
    reason: str = "",
    store: str | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Evidence:
    """All findings of a protocol on one test set and one set of predictions; opens the reference standard.

    That is entered in the test set's ledger before it happens (`unblinded`, without a run) and counts as a use of the
    cases, as a run does; the same protocol and predictions again are the same use. A protocol that is changed
    afterwards and run with this model is post hoc. Only runs make evidence: `evalsuite freeze` and `run`.

    Parameters
    ----------
    actor, reason
        For the ledger; by default the account, and "evaluated from Python".
    store
        Database that holds the ledger, where the set does not say.

    Raises
    ------
    InputError
        If a case has no use left and the reuse policy refuses; also as `evalsuite.spine.scoring.evaluate`.
    OutputError
        If the ledger cannot be written: the reference standard stays closed.
    """
    from evalsuite.record.usage import intervals
    from evalsuite.spine.access import enter_access
    from evalsuite.spine.scoring import evaluate as compute
    from evalsuite.testset.encryption import require_reference_key

    require_reference_key(testset, testset.reference_key)
    use = enter_access(
        protocol, testset, predictions, baseline=baseline, original=original, actor=actor, reason=reason, store=store
    )
    found = intervals(use.used_before, len(testset.cases)) if use.used_before else []
    used_before = tuple(c.case_id for low, high in found for c in testset.cases[low - 1 : high])
    return compute(
        protocol,
        testset,
        predictions,
        baseline=baseline,
        original=original,
        used_before=used_before,
        on_step=on_step,
    )


def write_report(
    path: Path | str,
    protocol: StudyProtocol,
    evidence: Evidence,
    verdict: Verdict,
    record: Mapping[str, Any],
    *,
    html_path: Path | None = None,
) -> None:
    """Render the PDF (and the HTML twin). `record` is a run's record.json; nothing is computed here."""
    from evalsuite.report import write_report as render

    render(Path(path), protocol=protocol, evidence=evidence, verdict=verdict, record=record, html_path=html_path)
