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
