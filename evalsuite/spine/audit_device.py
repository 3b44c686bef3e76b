"""The device of an audit: the model that was validated, or its prediction log; never another one, nor one half seen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.errors import CaseTableError, InputError, Problem
from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.schema import StudyProtocol
from evalsuite.record.files import atomic_write
from evalsuite.spine.audit_inputs import AuditOf

if TYPE_CHECKING:
    import pandas as pd

    from evalsuite.models.base import AnyModel
    from evalsuite.testset import LockedTestSet

_SHOWN = 20


def window_device(
    log: Path,
    window: Path,
    table: pd.DataFrame,
    protocol: StudyProtocol,
    model: Path | None,
    inputs: AuditOf,
) -> Path:
    """What gives the outputs: the model, or the table's own columns, written to `log` as recorded predictions.

    Raises
    ------
    InputError
        If they are not of the model that the baseline validated, or a case has neither an output nor a status.
    CaseTableError
        If there is no model and the table has no outputs.
    """
    from evalsuite.analyses.embedding import embedding_columns
    from evalsuite.sandbox.open import digest_of

    if model is not None:
        found = digest_of(model)
        if found != inputs.device:
            raise _other_model(found, inputs.device)
        return model
    asked = protocol.analyses.drift
    assert asked is not None, "the protocol's checks require it"
    embedding, unknown = embedding_columns(asked.embeddings, [str(c) for c in table.columns])
    outputs = list(dict.fromkeys((*compile_score(protocol.task.score).names, *embedding, *unknown)))
    absent = [c for c in (*outputs, "model_digest") if c not in table.columns]
    if absent:
        raise CaseTableError(
            f"{window.name} does not have the deployment's outputs.",
            problems=[Problem(f"no column {c!r}") for c in absent],
            hint="Without --model the window's table is the prediction log: outputs, and model_digest in every row.",
        )
    digests = {str(d).strip() for d in table["model_digest"]}
    if digests != {inputs.device}:
        raise _other_model(sorted(digests - {inputs.device})[0], inputs.device)
    _require_recorded(table, outputs, protocol.unit.case)
    kept = [protocol.unit.case, *outputs, *(c for c in ("status", "reason") if c in table.columns), "model_digest"]
    buffer = io.StringIO()
    table[kept].rename(columns={protocol.unit.case: "case_id"}).to_csv(buffer, index=False, lineterminator="\n")
    data = buffer.getvalue().encode()
    if not log.exists():
        atomic_write(log, data)
    return log


def _require_recorded(table: pd.DataFrame, outputs: Sequence[str], case: str) -> None:
    """InputError where a row has neither an output nor a status: a label of a case that the device never saw."""
    silent = (table[list(outputs)].map(lambda cell: not str(cell).strip())).all(axis=1)
    if "status" in table.columns:
        silent &= table["status"].map(lambda cell: str(cell).strip() in ("", "ok"))
    unknown = [str(c) for c in table[case][silent]]
    if unknown:
        raise InputError(
            f"The prediction log knows nothing of {len(unknown)} cases of the window.",
            problems=[Problem("neither an output nor a status", f"case {c}") for c in unknown[:_SHOWN]],
            hint="Take cases out that the device never saw; one that it failed on says so in `status`.",
        )


def require_images(testset: LockedTestSet) -> None:
    """InputError where a case has no image: a label of a case that the device cannot have seen."""
    unknown = [c.case_id for c in testset.cases if not any(c.images.values())]
    if unknown:
        raise InputError(
            f"{len(unknown)} cases of the window have no image.",
            problems=[Problem("nothing that the device could have seen", f"case {c}") for c in unknown[:_SHOWN]],
            hint="Take them out, or say where their images are.",
        )


def require_contract(opened: AnyModel, inputs: AuditOf) -> None:
    """InputError where the package is given its inputs in another way than in the validation."""
    if inputs.contract is not None and opened.contract_digest != inputs.contract:
        found, wanted = opened.contract_digest[:16], inputs.contract[:16]
        raise InputError(
            "The model's contract is not that of the baseline: its inputs would be prepared in another way.",
            problems=[Problem(f"found {found}…, the baseline has {wanted}…", "contract")],
            hint="Give the contract of the validation with --contract; a changed one is validated first.",
        )


def _other_model(found: str, wanted: str) -> InputError:
    return InputError(
        "The window's outputs are not those of the model that the baseline validated.",
        problems=[Problem(f"found {found[:16] or 'no digest'}…, the baseline has {wanted[:16]}…", "model_digest")],
        hint="A changed model is validated first (evalsuite compare); its audits then have its own baseline.",
    )
