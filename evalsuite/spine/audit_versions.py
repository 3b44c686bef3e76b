"""Outputs of the version that was replaced, on a baseline's cases and on a window's: told apart are model and data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import CaseTableError, InputError, Problem
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.canonical import read_json
from evalsuite.spine.audit_inputs import device_digest, former_table
from evalsuite.spine.folder import RunFolder, require_intact

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerVersion:
    """Where the replaced version's outputs are: its run on the baseline's set, and a table of what it says of the
    window's cases (case_id, outputs, model_digest; status where there is no usable output)."""

    run: Path
    outputs: Path


def former_outputs(
    protocol: StudyProtocol, former: FormerVersion, *, baseline: Path, device: str, window: Sequence[str]
) -> bytes:
    """Both sides as they are sealed; `device` is the digest of the current version, `window` the window's case ids.

    Raises
    ------
    InputError
        If the run is not one of another model on the baseline's set, or the outputs are not that model's, of these
        cases.
    CaseTableError
        If the table of outputs lacks a column, or a cell is no number.
    """
    from evalsuite.inference.predictions import read_predictions

    folder = RunFolder(Path(former.run))
    if not folder.record.exists() or not folder.verdict.exists():
        raise InputError(f"{former.run} is not a finished run.", hint="Give the replaced version's validation run.")
    require_intact(folder)
    record, current = read_json(folder.record), read_json(RunFolder(Path(baseline)).record)
    if record["testset"]["root"] != current["testset"]["root"] or record["limit"] is not None:
        raise InputError(
            "The replaced version was not run on the whole set of the baseline.",
            hint="Run it there: both versions are asked about the same cases.",
        )
    digest = device_digest(record)
    if digest == device:
        raise InputError("The replaced version is the model of the baseline.", hint="Leave --former out: none changed.")
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    outputs = list(compile_score(protocol.task.score).names)
    table = read_predictions(folder.predictions).table
    own = table[(table["rater"] == "device") & table["condition"].isna()].reset_index(drop=True)
    absent = [name for name in outputs if name not in own]
    if absent:
        raise InputError(f"The replaced version's run has no output {', '.join(absent)}, which task.score names.")
    sides = {"baseline": own, "window": _of_window(former.outputs, outputs, digest, window)}
    return former_table(outputs, sides)


def _of_window(path: Path, outputs: Sequence[str], digest: str, window: Sequence[str]) -> pd.DataFrame:
    """The replaced version's outputs on the window's cases, in their order."""
    import pandas as pd

    from evalsuite.testset.strata import number
    from evalsuite.testset.table import read_table

    table = read_table(path, error=CaseTableError)
    absent = [c for c in ("case_id", *outputs, "model_digest") if c not in table.columns]
    if absent:
        raise CaseTableError(
            f"{path.name} does not have the replaced version's outputs.",
            problems=[Problem(f"no column {c!r}") for c in absent],
        )
    if {str(d).strip() for d in table["model_digest"]} != {digest}:
        raise InputError(
            f"The outputs in {path.name} are not those of the replaced version's run.",
            problems=[Problem(f"expected {digest[:16]}… in every row", "model_digest")],
        )
    ids = [str(c).strip() for c in table["case_id"]]
    place = {c: i for i, c in enumerate(ids)}
    problems = [Problem("no output of the replaced version", f"case {c}") for c in window if c not in place]
    if len(place) < len(ids):
        problems.append(Problem(f"{len(ids) - len(place)} cases have several rows", path.name))
    if problems:
        raise InputError(f"{path.name} does not fit the window.", problems=problems[:_SHOWN])
    rows = [place[c] for c in window]
    status = (
        [str(table["status"][i]).strip() or "ok" for i in rows] if "status" in table.columns else ["ok"] * len(rows)
    )
    made: dict[str, Any] = {"case_id": list(window), "status": status}
    for name in outputs:
        values = [number(str(table[name][i]).strip()) for i in rows]
        wrong = [c for c, v, s in zip(window, values, status, strict=True) if v is None and s == "ok"]
        if wrong:
            raise CaseTableError(
                f"{len(wrong)} cells of '{name}' in {path.name} are not numbers.",
                problems=[Problem("not a number", f"case {c}") for c in wrong[:_SHOWN]],
                hint="A case without a usable output says so in `status`: failed, rejected or indeterminate.",
            )
        made[name] = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return pd.DataFrame(made)
