"""Validation and regulatory evaluation of deep learning in medical imaging.

    >>> import evalsuite as es
    >>> protocol = es.load_protocol("generic_binary_standalone")

Everything here loads on first use: `import evalsuite` itself imports neither torch nor pandas nor weasyprint.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Estimate": "evalsuite.types",
    "Evidence": "evalsuite.types",
    "EvalsuiteError": "evalsuite.errors",
    "Finding": "evalsuite.types",
    "StudyProtocol": "evalsuite.protocol.schema",
    "Verdict": "evalsuite.types",
    "evaluate": "evalsuite.spine",
    "judge": "evalsuite.judging",
    "load_protocol": "evalsuite.protocol.load",
    "lock_testset": "evalsuite.testset",
    "open_model": "evalsuite.sandbox.open",
    "open_testset": "evalsuite.testset",
    "predict": "evalsuite.spine",
    "run": "evalsuite.spine",
    "write_report": "evalsuite.spine",
}

__all__ = [
    "Estimate",
    "EvalsuiteError",
    "Evidence",
    "Finding",
    "StudyProtocol",
    "Verdict",
    "__version__",
    "evaluate",
    "judge",
    "load_protocol",
    "lock_testset",
    "open_model",
    "open_testset",
    "predict",
    "run",
    "write_report",
]

if TYPE_CHECKING:
    from evalsuite.errors import EvalsuiteError
    from evalsuite.judging import judge
    from evalsuite.protocol.load import load_protocol
    from evalsuite.protocol.schema import StudyProtocol
    from evalsuite.sandbox.open import open_model
    from evalsuite.spine import evaluate, predict, run, write_report
    from evalsuite.testset import lock_testset, open_testset
    from evalsuite.types import Estimate, Evidence, Finding, Verdict


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'evalsuite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
