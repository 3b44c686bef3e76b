"""The curves behind the areas of a reader study: the mean over readers with each treatment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from evalsuite.analyses.population import Floats, OutputPolicy
from evalsuite.analyses.reader_marks import is_of_marks, marks_of
from evalsuite.analyses.readings import Read
from evalsuite.protocol.readers import READERS, figure_of
from evalsuite.protocol.schema import Endpoint
from evalsuite.stats.detection import Area, localisation_curve, ranked_curve
from evalsuite.types import Curve

#: Shares of cases at which the curves of the readers are averaged.
GRID = np.linspace(0.0, 1.0, 101)


def reader_curves(
    read: Read, endpoints: Sequence[Endpoint], ratings: Sequence[Floats], policy: OutputPolicy
) -> Iterator[Curve]:
    """One curve per area asked for and treatment, in the whole set; `ratings` `(t, r, c)` of each endpoint.

    Sensitivities of the readers are averaged at equal shares of cases marked wrongly.
    """
    drawn: set[str] = set()
    for endpoint, rating in zip(endpoints, ratings, strict=True):
        figure = figure_of(endpoint.metric)
        if figure in drawn or not (figure == "auroc" or is_of_marks(endpoint)):
            continue
        drawn.add(figure)
        for t, treatment in enumerate(read.treatments):
            try:
                lines = _of_marks(read, endpoint, policy, t) if is_of_marks(endpoint) else _of_ratings(read, rating[t])
            except ValueError:
                continue  # the estimate says why there is none
            mean = np.mean([_at(GRID, x, y) for x, y in lines], axis=0)
            yield Curve(
                analysis=READERS,
                metric=figure,
                kind="reader_roc",
                series=treatment,
                x=(0.0, *GRID.tolist()),
                y=(0.0, *mean.tolist()),
                n=read.base.n,
                method=f"Mean of {len(lines)} readers at equal shares on the horizontal axis",
            )


def _of_marks(read: Read, endpoint: Endpoint, policy: OutputPolicy, t: int) -> list[tuple[Floats, Floats]]:
    found, _ = marks_of(read, endpoint, policy, np.ones(read.base.n, dtype=np.bool_))
    return [localisation_curve(one, cast(Area, figure_of(endpoint.metric))) for one in found[t]]


def _of_ratings(read: Read, rating: Floats) -> list[tuple[Floats, Floats]]:
    truth = read.base.positive
    return [ranked_curve(one[there], truth[there], ~truth[there]) for one in rating for there in [~np.isnan(one)]]


def _at(grid: Floats, x: Floats, y: Floats) -> Floats:
    """Heights of a rising curve at `grid`: the upper end where it rises straight up."""
    upper = np.append(x[1:] != x[:-1], True)
    heights: Floats = np.interp(grid, x[upper], y[upper])
    return heights
