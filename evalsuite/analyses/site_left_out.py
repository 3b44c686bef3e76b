"""Each site left out in turn: its own figure, that of all others taken together, and the gap between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalsuite.protocol.schema import Endpoint
from evalsuite.stats.differences import mover_difference
from evalsuite.stats.generalisation import SiteEffect
from evalsuite.testset.strata import StratumLabels
from evalsuite.types import Estimate

#: Estimates of an endpoint by the name of each group of a labelling.
EffectsByGroup = Callable[[Endpoint, StratumLabels], Sequence[SiteEffect]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutSite:
    """A site, the pooled cases of all others, and site less others."""

    site: str
    own: Estimate
    others: Estimate
    gap: Estimate


def each_left_out(
    endpoint: Endpoint, group: StratumLabels, sites: Sequence[str], patient: np.ndarray, effects_of: EffectsByGroup
) -> Iterator[LeftOutSite]:
    """Every site beside all others, whose cases count as one group; cases without a recorded site count in neither.

    The gap's interval squares and adds the limits of both (Newcombe's for shares by Wilson limits), which takes two
    groups of different patients; where patients have cases in both there is none, and it says so.
    """
    if len(sites) < 2:
        return
    together = _unused("all others", sites)
    for site in sites:
        merged = _merged(group, site, set(sites), together)
        found = {e.site: e.estimate for e in effects_of(endpoint, merged)}
        if site not in found or together not in found:
            continue
        gap = mover_difference(found[site], found[together])
        shared = np.intersect1d(patient[merged.mask(0)], patient[merged.mask(1)]).size
        if shared and gap.low is not None:
            why = f"{shared} patients have cases in both groups"
            gap = replace(gap, low=None, high=None, interval_undefined=why, n_patients=None)
        yield LeftOutSite(site=site, own=found[site], others=found[together], gap=gap)


def _unused(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "*"
    return name


def _merged(group: StratumLabels, site: str, sites: set[str], together: str) -> StratumLabels:
    """The labelling with all other recorded sites as one; what is no site stays as it is."""
    levels: list[tuple[str, ...]] = [(site,), (together,)]
    new = np.zeros(len(group.levels), dtype=np.intp)
    for i, level in enumerate(group.levels):
        if level == (site,):
            new[i] = 0
        elif level[0] in sites:
            new[i] = 1
        else:
            new[i] = len(levels)
            levels.append(level)
    return replace(group, levels=tuple(levels), index=new[group.index])
