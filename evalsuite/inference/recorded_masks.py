"""Recorded masks: a device's mask files, read once, kept as run lengths, and joined to the cases of a test set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import ImageError, IntegrityError
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.mask_file import decode_mask
from evalsuite.inference.mask_store import masks_digest, write_masks
from evalsuite.inference.masks import StoredMask, encode
from evalsuite.inference.predictions import MISSING, Predictions, make_predictions, to_frame
from evalsuite.inference.recorded import join_recorded
from evalsuite.record.digest import sha256_bytes

if TYPE_CHECKING:
    from evalsuite.models.base import RecordedPredictions

CASES_PER_FILE = 64


def join_masks(
    model: RecordedPredictions,
    *,
    case_ids: Sequence[str],
    all_ids: Sequence[str],
    identity: dict[str, Any],
    column: str,
    work: Path,
    grid_of: Callable[[str], Grid | None] = lambda _: None,
) -> Predictions:
    """Predictions whose output is the mask file that `column` names for each case; one such column is read.

    - A case without a row is failed, as are a case whose cell is empty and one whose file is no mask; its reason says
      which. Status and reason are honoured.
    - DICOM SEG and RT structure sets are laid onto the grid of the case's image (`grid_of`).
    - Masks lie in `work` as run lengths, on the grid of their own file; the predictions' digest covers them.

    Raises
    ------
    CaseTableError
        Everything wrong with the table at once, as for other recorded predictions.
    IntegrityError
        If a file changed after the model was opened.
    """
    rows = model.table.assign(**{column: 1.0})
    joined = join_recorded(rows, case_ids=case_ids, all_ids=all_ids, model=identity, required=(column,))
    names = dict(zip(model.table["case_id"].tolist(), model.files[column].tolist(), strict=True))
    table = joined.table[(joined.table["rater"] == "device") & joined.table["condition"].isna()].reset_index(drop=True)
    keys: dict[str, list[str | None]] = {
        name: table[name].tolist() for name in ("case_id", "rater", "condition", "status", "reason")
    }
    waiting: list[StoredMask] = []
    files: list[Path] = []
    digests: list[str] = []
    for i, case in enumerate(case_ids):
        if keys["status"][i] == "ok":
            made = _read(model, names[case], case, column, grid_of)
            if isinstance(made, str):
                keys["status"][i], keys["reason"][i] = "failed", made
            else:
                waiting.append(made)
        if waiting and (len(waiting) == CASES_PER_FILE or i == len(case_ids) - 1):
            path = work / "recorded-masks" / f"masks-{len(files):05d}.parquet"
            digests += write_masks(path, waiting)
            files.append(path)
            waiting = []
    if waiting:
        path = work / "recorded-masks" / f"masks-{len(files):05d}.parquet"
        digests += write_masks(path, waiting)
        files.append(path)
    return make_predictions(
        to_frame(keys, {}),
        outputs=(),
        model=identity,
        record={"inference": {"kind": "recorded", "n_cases": len(case_ids), "n_masks": len(digests)}},
        masks=masks_digest(digests) if digests else None,
        mask_files=tuple(files),
    )


def _read(
    model: RecordedPredictions, cell: str, case: str, column: str, grid_of: Callable[[str], Grid | None]
) -> StoredMask | str:
    """The mask of one case, or why there is none."""
    if not cell.strip():
        return MISSING
    path = model.folder / cell
    sha256 = model.file_digests.get(cell)
    if sha256 is None:
        return "the mask file is missing"
    try:
        data = path.read_bytes()
    except OSError:
        return "the mask file cannot be read"
    if sha256_bytes(data) != sha256:
        raise IntegrityError(f"{cell} changed after the predictions were opened", hint="Run the same command again.")
    try:
        own = grid_of(case) if data[128:132] == b"DICM" else None
        labels, grid = decode_mask(data, name=path.name, grid=own)
    except ImageError as error:
        return f"the mask file cannot be used ({error.code})"
    return StoredMask(case_id=case, output=column, channel=None, classes=(), grid=grid, runs=encode(labels))
