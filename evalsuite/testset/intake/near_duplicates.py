"""Images that look alike without being equal: resized, recompressed, brightened or annotated copies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalsuite.imaging.likeness import Likeness
from evalsuite.testset.intake.duplicates import n_across
from evalsuite.testset.intake.types import CheckResult, Intake, coverage, plural, undecoded

# Measured (docs/intake.md): no pair of 511,814 pairs of different skin and chest images was that alike, and nearly all
# recompressed, halved, brightened, blurred or annotated copies were; copies cropped by more than 2 % mostly are not.
MOST_BITS = 10
LEAST_CORRELATION = 0.97
_BLOCK = 2048
_WHY = (
    "A copy that was resized, recompressed or annotated is no independent case; across patients it may mean one person "
    "under two identifiers."
)


def near_duplicates(intake: Intake) -> CheckResult:
    """Groups of cases with images that look alike; equal images are another check's."""
    title = "Nearly the same image in several cases"
    if (absent := undecoded(intake, "near_duplicates", title, _WHY)) is not None:
        return absent
    ids, seen, pixels = [], [], []
    for case_id, names in zip(intake.case_ids, intake.images, strict=True):
        for name in _representatives(names):
            found = intake.looks.get(name)
            if found is not None and found.likeness is not None and not found.likeness.flat:
                ids.append(case_id)
                seen.append(found.likeness)
                pixels.append(found.pixel_digest)
    pairs = [(a, b) for a, b in alike_pairs(seen) if ids[a] != ids[b] and pixels[a] != pixels[b]]
    groups = _join(pairs, ids, list(intake.case_ids))
    across = n_across(groups, dict(zip(intake.case_ids, intake.patients, strict=True)))
    cases = tuple(c for g in groups for c in g)
    said = f"none{coverage(intake)}"
    if groups:
        said = f"{plural(len(groups), 'group')} of {plural(len(cases), 'case')}, {across} across patients"
        said += coverage(intake)
    return CheckResult(
        check="near_duplicates",
        title=title,
        outcome="warning" if groups else "ok",
        summary=said,
        counts={"groups": len(groups), "cases": len(cases), "groups_across_patients": across},
        cases=cases,
        groups=groups,
        why=_WHY,
        action="Look at the images of each group; retire copies with --retire." if groups else "",
    )


def _representatives(names: Sequence[str]) -> Sequence[str]:
    """The image, or the middle file of a series: neighbouring slices look alike by nature."""
    return names if len(names) <= 4 else (names[len(names) // 2],)


def alike_pairs(found: Sequence[Likeness]) -> list[tuple[int, int]]:
    """Pairs (a, b), a < b, that differ in at most 10 of 64 bits and correlate at 0.97 or more.

    Every pair is compared: 100,000 images take some ten seconds on one processor.
    """
    n = len(found)
    if n < 2:
        return []
    words = np.array([f.phash for f in found], dtype=np.uint64)
    pairs: list[tuple[int, int]] = []
    for start in range(0, n, _BLOCK):
        block = words[start : start + _BLOCK, np.newaxis]
        for other in range(start, n, _BLOCK):
            bits = np.bitwise_count(block ^ words[np.newaxis, other : other + _BLOCK])
            i, j = np.nonzero(bits <= MOST_BITS)
            i, j = i + start, j + other
            keep = i < j
            pairs += zip(i[keep].tolist(), j[keep].tolist(), strict=True)
    return [(a, b) for a, b in pairs if _correlation(found[a].thumb, found[b].thumb) >= LEAST_CORRELATION]


def _correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / scale if scale > 0 else 0.0


def _join(pairs: Sequence[tuple[int, int]], ids: Sequence[str], order: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Cases connected by pairs, as groups in the order of the table."""
    parent: dict[str, str] = {}

    def root(x: str) -> str:
        parent.setdefault(x, x)
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in pairs:
        parent[root(ids[a])] = root(ids[b])
    groups: dict[str, list[str]] = defaultdict(list)
    for case_id in order:
        if case_id in parent:
            groups[root(case_id)].append(case_id)
    return tuple(tuple(g) for g in groups.values())
