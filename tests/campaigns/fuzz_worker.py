"""Reads one damaged file after the other, each through what a run would do with it, and says what became of it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import warnings
from pathlib import Path
from typing import NoReturn

from evalsuite.errors import EvalsuiteError

#: Address space beyond what the process starts with: a file of a few kilobytes that asks for more is refused by it.
EXTRA_BYTES = 3 << 30
_INPUTS: dict[str, dict[str, object]] = {
    "image": {"shape": [None, None, None]},
    "stack": {"shape": [None, None, None, None], "frames": "stack"},
    "volume": {"shape": [None] * 4, "orientation": "any", "spacing_mm": "any", "normalise": "minmax"},
}


def image_outcome(path: Path, kind: str) -> str:
    """ "read", or the reason in the case accounting; what is no such reason begins with "!"."""
    from evalsuite.inference.decoders import read_one
    from evalsuite.inference.hooks import default_hooks
    from evalsuite.testset.types import Case

    case = Case(
        case_id="c", patient_id="p", study_id="", site="", acquired_at="", sample_weight=None, images={"image": (path,)}
    )
    try:
        found, code = read_one(default_hooks(_Contracted(kind), {"image": "image"}).read, case)
    except EvalsuiteError as error:
        return f"!{type(error).__name__}"
    if code is not None and code.startswith("reading failed"):
        return f"!{code}"
    return "read" if found is not None else str(code)


class _Contracted:
    """A model as far as reading its input goes."""

    def __init__(self, kind: str) -> None:
        from evalsuite.models.contract import Contract, InputSpec, OutputSpec

        spec = InputSpec.model_validate({"name": "image", **_INPUTS[kind]})
        self.contract = Contract(
            task="binary", inputs=(spec,), outputs=(OutputSpec(classes=("malignant",), activation="none"),)
        )


def model_outcome(path: Path, contract: Path) -> str:
    """ "opened", "answered", or the type of the error; what is no error of the suite begins with "!"."""
    import numpy as np

    from evalsuite.models.contract import load_contract
    from evalsuite.models.open import open_model

    try:
        if path.name == "contract.json":
            load_contract(path)
            return "opened"
        table = path.suffix in (".csv", ".parquet")
        model = open_model(path, contract=None if table else contract)
        if table:
            return "opened"
        model.predict({"image": np.zeros((2, 1, 8, 8), dtype=np.float32)})
    except EvalsuiteError as error:
        return type(error).__name__
    return "answered"


def main() -> NoReturn:
    """Answer one line of JSON per line of input: {kind, path, contract} → {outcome}."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    ready = False
    for line in sys.stdin:
        asked = json.loads(line)
        path = Path(asked["path"])
        if not ready:
            _limit(asked["kind"])
            ready = True
        try:
            if asked["kind"] in ("model", "table"):
                outcome = model_outcome(path, Path(asked["contract"]))
            else:
                outcome = image_outcome(path, asked["kind"])
        except Exception as error:  # what would have been a traceback is what this looks for
            outcome = f"!{type(error).__name__}: {str(error)[:200]}"
        answers.write(json.dumps({"outcome": outcome}) + "\n")
    os._exit(0)  # libraries that met damaged models need not come to an end in order


def _limit(kind: str) -> None:
    if kind == "model":
        import onnxruntime
        import torch

        assert onnxruntime, torch
    elif kind != "table":
        import evalsuite.imaging.dicom
        import evalsuite.imaging.nifti
        import evalsuite.imaging.raster

        assert evalsuite.imaging
    with contextlib.suppress(OSError):  # a machine without /proc: no limit
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + EXTRA_BYTES, used + EXTRA_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
