"""How alike maps are: to those of a shuffled network, of an image with a little noise, and of another patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from evalsuite.attribution.job import Attributed
from evalsuite.inference.attribution_store import Part, Value
from evalsuite.protocol.interpretability import Interpretability
from evalsuite.stats.faithfulness import rank_correlation, ssim

_LIKENESS = {"ssim": ssim, "spearman": rank_correlation}


def likenesses(asked: Interpretability, made: Attributed, n: int) -> dict[tuple[str, str, str], np.ndarray]:
    """How alike each map is to that of the shuffled network, and of the image with noise (mean over draws)."""
    found = {}
    for method in asked.methods:
        label = method.label
        for variant, like in _LIKENESS.items():
            noisy = []
            for name in (x for x in made.maps if x.startswith(f"{label}@")):
                pairs = [like(made.maps[label][i], made.maps[name][i]) for i in range(n)]
                column = np.array([np.nan if v is None else v for v in pairs])
                what, _, which = name.partition("@")[2].partition(":")
                if what == "noise":
                    noisy.append(column)
                else:
                    found[label, "randomisation", variant if which == "1" else f"{variant} top {which}"] = column
            if noisy:
                found[label, "reproducibility", variant] = np.mean(noisy, axis=0)
    return found


def random_pairs(asked: Interpretability, parts: Sequence[Part], seed: int) -> Iterator[Value]:
    """How alike each map is to that of another patient: what any two maps of the method have in common.

    A map of a shuffled network should be no more like the map than that, one of the image with noise clearly more.
    """
    if not {"randomisation", "reproducibility"} & set(asked.measures):
        return
    where = [(part, i, case) for part in parts for i, case in enumerate(part.cases)]
    partner = _partners([case.patient_id for _, _, case in where], seed)
    for method in asked.methods:
        for (part, i, case), j in zip(where, partner, strict=True):
            own = part.map_of(method.label, i)
            other = None if j is None else where[j][0].map_of(method.label, where[j][1])
            for variant, like in _LIKENESS.items():
                value = None if other is None or other.shape != own.shape else like(own, other)
                yield case.case_id, method.label, "random_pair", variant, value


def _partners(patients: Sequence[str], seed: int) -> list[int | None]:
    """For each case one of another patient, drawn by the seed; None where all are of one patient."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(patients)).tolist()
    found: list[int | None] = []
    for own in patients:
        start = int(rng.integers(len(order)))
        others = (order[(start + step) % len(order)] for step in range(len(order)))
        found.append(next((j for j in others if patients[j] != own), None))
    return found
