"""Running a package in another number format or by another program than it was packaged for, as the protocol asks.

A verdict is about the model as packaged, so none of this is a default, and the engine admits it only after comparing
its answers with the package's own (inference.equivalence).
"""

from __future__ import annotations

from dataclasses import dataclass

PRECISIONS = ("package", "float32", "tf32", "bfloat16", "float16")
BACKENDS = ("package", "compile", "onnxruntime", "openvino")
MEMORY_FORMATS = ("package", "channels_last")
#: Largest difference of a probability, against the package's own (docs/engine.md, "Numeric policy").
SAME_FORMAT, OTHER_FORMAT = 1e-5, 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """Number format (`PRECISIONS`), program (`BACKENDS`) and layout of images in memory (`MEMORY_FORMATS`)."""

    precision: str = "package"
    backend: str = "package"
    memory_format: str = "package"

    @property
    def as_packaged(self) -> bool:
        """Whether nothing is changed."""
        return self == Numerics()

    @property
    def tolerance(self) -> float:
        """Largest difference from the package's own answers that is admitted."""
        return SAME_FORMAT if self.precision in ("package", "float32") else OTHER_FORMAT

    def __str__(self) -> str:
        parts = (("precision", self.precision), ("backend", self.backend), ("memory format", self.memory_format))
        return ", ".join(f"{name} {value}" for name, value in parts if value != "package") or "as packaged"
