"""What the device decides from its outputs, to count decisions that another number format turns round."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from evalsuite.protocol.expression import compile_score
from evalsuite.protocol.schema import OperatingPoint, StudyProtocol


def decisions(protocol: StudyProtocol) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None:
    """Function from the model's outputs to the decisions of the task, by operating point.

    Where the score is one number: whether it is positive at each operating point. Several labels: the same for each of
    them. Several classes or grades: the one with the highest score. None where nothing is decided (a measurement).
    """
    score, kind = protocol.task.score, protocol.task.kind
    points = protocol.operating_points
    if kind in ("multiclass", "multilabel", "ordinal") and not isinstance(score, str):
        names = tuple(score)
        if kind != "multilabel":
            return lambda outputs: {"highest score": np.stack([outputs[n] for n in names], axis=1).argmax(axis=1)}
        return lambda outputs: {
            point.name: np.stack([_positive(outputs[n], point) for n in names], axis=1) for point in points
        }
    if not points or kind not in ("binary", "ordinal"):
        return None
    formula = compile_score(score)
    return lambda outputs: {point.name: _positive(formula.evaluate(outputs), point) for point in points}


def _positive(scores: np.ndarray, point: OperatingPoint) -> np.ndarray:
    found: np.ndarray = scores > point.threshold if point.comparison == ">" else scores >= point.threshold
    return found
