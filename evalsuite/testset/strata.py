"""Groups of cases: by the text of a cell, by age bands and the like, or by several of them crossed."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evalsuite.errors import CaseTableError, Problem
from evalsuite.protocol.schema import StratumSpec
from evalsuite.testset.table import suggest

if TYPE_CHECKING:
    import pandas as pd

MISSING = "missing"
# DICOM PS3.5, value representation AS: three digits and D, W, M or Y
_DICOM_AGE = re.compile(r"(\d{3})([DWMY])")
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumLabels:
    """Which group each case belongs to. Every case is in exactly one.

    `levels[i]` has one text per key: a cross of sex and age has keys ("sex", "age") and levels such as
    ("female", "40-<60"). `index` (n,) gives each case's level.
    """

    name: str
    keys: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    index: npt.NDArray[np.intp]

    def as_stratum(self, i: int) -> dict[str, str]:
        """Level `i` as it stands in evidence: {"sex": "female", "age": "40-<60"}."""
        return dict(zip(self.keys, self.levels[i], strict=True))

    def mask(self, i: int) -> npt.NDArray[np.bool_]:
        """(n,) bool: the cases of level `i`."""
        return np.asarray(self.index == i, dtype=np.bool_)


def assign_strata(frame: pd.DataFrame, specs: Sequence[StratumSpec]) -> dict[str, StratumLabels]:
    """Assign every case to one level of every declared stratum.

    - A column's levels are its cells as they stand, numbers in numeric and texts in alphabetical order; an empty cell
      is "missing" and comes last. Words such as "unknown" stay as they stand.
    - Bins [40, 60] give "<40", "40-<60", ">=60"; a value on an edge belongs to the upper bin. Declared bins are levels
      even when no case falls into them. A cell that is not a finite number is a level of its own text, after the bins.
      DICOM ages ("058Y", "007M") are read in years.
    - A cross has the combinations that occur, ordered as the levels of its parts.

    Parameters
    ----------
    frame
        n rows, all columns text (`open_reference`).
    specs
        As in a loaded protocol; a spec with neither column nor cross means the column of its own name.

    Raises
    ------
    CaseTableError
        If columns are not in the frame (all of them, with hints).
    ValueError
        If bins are not strictly increasing, or a cross names an unknown stratum or itself.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": ["39", "40", "", "n/a"]})
    >>> assign_strata(frame, [StratumSpec(name="age", bins=[40])])["age"].levels
    (('<40',), ('>=40',), ('n/a',), ('missing',))
    """
    wanted = {s.name: s.column or s.name for s in specs if s.cross is None}
    absent = {name: column for name, column in wanted.items() if column not in frame.columns}
    if absent:
        raise CaseTableError(
            "The locked test set lacks columns that strata need.",
            problems=[
                Problem(what=f"no column {column!r}", where=f"stratum {name!r}", hint=suggest(column, frame.columns))
                for name, column in absent.items()
            ],
            hint="Lock the test set again with --protocol, from a table that has them.",
        )
    found: dict[str, StratumLabels] = {}
    by_name = {s.name: s for s in specs}
    for spec in specs:
        _resolve(spec, by_name, frame, found, ())
    return {s.name: found[s.name] for s in specs}


def bin_names(bins: Sequence[float]) -> list[str]:
    """Names of the bins between `bins`: [40, 60] -> ["<40", "40-<60", ">=60"].

    Raises
    ------
    ValueError
        If `bins` is empty, not finite, or not strictly increasing.
    """
    finite = all(math.isfinite(b) for b in bins)
    if not bins or not finite or any(a >= b for a, b in itertools.pairwise(bins)):
        raise ValueError(f"bins are finite and strictly increasing, got {list(bins)}")
    edges = [str(int(b)) if b == int(b) else repr(float(b)) for b in bins]
    inner = [f"{a}-<{b}" for a, b in itertools.pairwise(edges)]
    return [f"<{edges[0]}", *inner, f">={edges[-1]}"]


def number(text: str) -> float | None:
    """The finite number a cell states, or None. DICOM ages are years."""
    text = text.strip()
    if match := _DICOM_AGE.fullmatch(text):
        return int(match.group(1)) / _PER_YEAR[match.group(2)]
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _resolve(
    spec: StratumSpec,
    by_name: dict[str, StratumSpec],
    frame: pd.DataFrame,
    found: dict[str, StratumLabels],
    above: tuple[str, ...],
) -> StratumLabels:
    if spec.name in found:
        return found[spec.name]
    if spec.name in above:
        raise ValueError(f"stratum {spec.name!r} is crossed with itself")
    if spec.cross is None:
        labels = _from_column(spec, frame)
    else:
        unknown = [n for n in spec.cross if n not in by_name]
        if unknown:
            raise ValueError(f"stratum {spec.name!r} crosses unknown strata {unknown}")
        parts = [_resolve(by_name[n], by_name, frame, found, (*above, spec.name)) for n in spec.cross]
        labels = _cross(spec.name, parts)
    found[spec.name] = labels
    return labels


def _from_column(spec: StratumSpec, frame: pd.DataFrame) -> StratumLabels:
    cells = frame[spec.column or spec.name].to_numpy(dtype=object)
    distinct = list(dict.fromkeys(cells.tolist()))
    level_of = {cell: MISSING if not cell.strip() else cell for cell in distinct}
    levels: list[str] = []
    if spec.bins is not None:
        levels = bin_names(spec.bins)
        for cell in distinct:
            if (value := number(cell)) is not None:
                level_of[cell] = levels[bisect.bisect_right(spec.bins, value)]
    rest = set(level_of.values()) - set(levels)
    levels += sorted(rest, key=_level_order)
    position = {level: i for i, level in enumerate(levels)}
    index_of = {cell: position[level] for cell, level in level_of.items()}
    index = np.fromiter((index_of[c] for c in cells), dtype=np.intp, count=len(cells))
    return StratumLabels(name=spec.name, keys=(spec.name,), levels=tuple((x,) for x in levels), index=index)


def _level_order(level: str) -> tuple[bool, bool, float, str]:
    value = number(level)
    return level == MISSING, value is None, value if value is not None else 0.0, level


def _cross(name: str, parts: Sequence[StratumLabels]) -> StratumLabels:
    keys = tuple(k for p in parts for k in p.keys)
    if len(set(keys)) != len(keys):
        raise ValueError(f"stratum {name!r} crosses the same stratum twice")
    n = len(parts[0].index)
    combined = np.zeros(n, dtype=np.int64)
    for part in parts:
        combined = combined * len(part.levels) + part.index
    occurring, index = np.unique(combined, return_inverse=True)
    levels = []
    for code in occurring.tolist():
        texts: tuple[str, ...] = ()
        for part in reversed(parts):
            code, i = divmod(code, len(part.levels))
            texts = part.levels[i] + texts
        levels.append(texts)
    return StratumLabels(name=name, keys=keys, levels=tuple(levels), index=index.astype(np.intp))
