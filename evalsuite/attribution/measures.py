"""What taking parts of an image away shows of a map: infidelity, deletion, insertion, ROAD, beside trivial maps."""

from __future__ import annotations

import numpy as np
import torch

from evalsuite.attribution.job import PATCH_SHARE, ROAD_FRACTIONS, Job, fractions_of
from evalsuite.attribution.maps import emptied
from evalsuite.attribution.scorer import Scorer, as_share, batches
from evalsuite.protocol.interpretability import SLOPES
from evalsuite.stats.faithfulness import area, imputed, infidelity, order_of, taken_away

Key = tuple[str, str, str]
Values = dict[Key, np.ndarray]
RANDOM = "random"


def faithfulness(scorer: Scorer, maps: dict[str, np.ndarray], raw: dict[str, torch.Tensor], job: Job) -> Values:
    """Every measure of the job that asks the model about changed images: (map, measure, variant) → (n,), NaN for none.

    `maps` are what is looked at (n, *spatial), `raw` what each value adds, by channel where the method says so.
    """
    asked = job.asked
    found: Values = {}
    if "infidelity" in asked.measures:
        found |= _infidelity(scorer.for_("infidelity"), raw, job)
    wanted = [str(m) for m in ("deletion", "insertion") if m in asked.measures]
    road = "road" in asked.measures and len(scorer.spatial) == 2
    if wanted or road:
        orders = {name: [order_of(m[i], seed=job.seeds[i]) for i in range(scorer.n)] for name, m in maps.items()}
        flat = np.zeros(scorer.spatial)
        orders[RANDOM] = [order_of(flat, seed=job.seeds[i] + 1) for i in range(scorer.n)]
        # an order by a constant map is nobody's order
        pointless = {n: np.array([np.ptp(m[i]) == 0 for i in range(scorer.n)]) for n, m in maps.items()}
        made: Values = {}
        if wanted:
            made |= _curves(scorer, orders, wanted, job)
        if road:
            made |= _road(scorer.for_("road"), orders, job)
        found |= {k: np.where(pointless.get(k[0], False), np.nan, v) for k, v in made.items()}
    return found


def _infidelity(scorer: Scorer, raw: dict[str, torch.Tensor], job: Job) -> Values:
    """Squares are emptied, the same ones for every map; a map's account is its sum over them."""
    n, k = scorer.n, job.asked.patches
    assert scorer.clean is not None, "the unchanged images were shown"
    fill = emptied(job.asked.fill, scorer.image)
    places = [_places(job.seeds[i], scorer.spatial, k) for i in range(n)]
    observed = np.zeros((n, k))
    for rows in batches(n * k, job.batch_size):
        images = rows // k
        changed = scorer.image[images]
        for m, number in enumerate(rows.tolist()):
            at = (slice(None), *places[number // k][number % k])
            changed[m][at] = fill[number // k][at]
        lost = scorer.clean[images] - scorer.values(changed, images)
        observed[images.numpy(), (rows % k).numpy()] = lost.double().cpu().numpy()
    found: Values = {}
    slopes = {m.label for m in job.asked.methods if m.method in SLOPES}
    for name, values in raw.items():
        # a slope times what is taken away is what the map says of taking it away
        adds = values * (scorer.image - fill) if name in slopes else values
        each = adds.sum(dim=1).double().cpu().numpy()
        pairs = [infidelity([each[i][at].sum() for at in places[i]], observed[i]) for i in range(n)]
        for variant, which in (("scaled", 0), ("unexplained", 1)):
            found[name, "infidelity", variant] = np.array([np.nan if p[which] is None else p[which] for p in pairs])
    return found


def _places(seed: int, spatial: tuple[int, ...], n: int) -> list[tuple[slice, ...]]:
    rng = np.random.default_rng(seed)
    sides = [max(1, round(PATCH_SHARE * s)) for s in spatial]
    return [
        tuple(
            slice(a, a + side)
            for a, side in ((int(rng.integers(0, s - side + 1)), side) for s, side in zip(spatial, sides, strict=True))
        )
        for _ in range(n)
    ]


def _curves(scorer: Scorer, orders: dict[str, list[np.ndarray]], wanted: list[str], job: Job) -> Values:
    fill = emptied(job.asked.fill, scorer.image)
    n, steps = scorer.n, fractions_of(job.asked)
    assert scorer.clean is not None, "the unchanged images were shown"
    clean = scorer.clean.double().cpu().numpy()
    empty = np.concatenate([scorer.for_("emptied").values(fill[r], r).double().cpu().numpy() for r in scorer.chunks(n)])
    names = list(orders)
    found: Values = {}
    for measure in wanted:
        start, end = (clean, empty) if measure == "deletion" else (empty, clean)
        values = np.zeros((len(names), n, len(steps) + 1))
        values[:, :, 0], values[:, :, -1] = start, end
        todo = [(m, i, s) for i in range(n) for m in range(len(names)) for s in range(len(steps) - 1)]
        counted = scorer.for_(measure)
        for first in range(0, len(todo), job.batch_size):
            batch = todo[first : first + job.batch_size]
            rows = torch.tensor([i for _, i, _ in batch])
            gone = np.stack([taken_away(orders[names[m]][i], steps[s], scorer.spatial) for m, i, s in batch])
            mask = torch.from_numpy(gone)[:, None].to(scorer.image.device)
            there = scorer.image[rows]
            changed = (
                torch.where(mask, fill[rows], there) if measure == "deletion" else torch.where(mask, there, fill[rows])
            )
            answers = counted.values(changed, rows).double().cpu().numpy()
            for (m, i, s), value in zip(batch, answers, strict=True):
                values[m, i, s + 1] = value
        shares = as_share(job.asked.target, scorer.spec, values, clean[None, :, None])
        for m, name in enumerate(names):
            found[name, measure, "auc"] = np.array([area(shares[m, i]) for i in range(n)])
            for s, step in enumerate(steps):
                found[name, measure, f"at {step:g}"] = shares[m, :, s + 1]
    return found


def _road(scorer: Scorer, orders: dict[str, list[np.ndarray]], job: Job) -> Values:
    """The answer with the most salient pixels replaced by what their neighbours say: lower is better."""
    n, names = scorer.n, list(orders)
    assert scorer.clean is not None, "the unchanged images were shown"
    clean = scorer.clean.double().cpu().numpy()
    values = np.zeros((len(names), n, len(ROAD_FRACTIONS)))
    todo = [(m, i, s) for i in range(n) for m in range(len(names)) for s in range(len(ROAD_FRACTIONS))]
    images = scorer.image.cpu().numpy()
    for first in range(0, len(todo), job.batch_size):
        batch = todo[first : first + job.batch_size]
        rows = torch.tensor([i for _, i, _ in batch])
        changed = np.stack(
            [
                imputed(
                    images[i], taken_away(orders[names[m]][i], ROAD_FRACTIONS[s], scorer.spatial), seed=job.seeds[i]
                )
                for m, i, s in batch
            ]
        )
        shown = torch.from_numpy(changed.astype(np.float32)).to(scorer.image.device)
        answers = scorer.values(shown, rows).double().cpu().numpy()
        for (m, i, s), value in zip(batch, answers, strict=True):
            values[m, i, s] = value
    shares = as_share(job.asked.target, scorer.spec, values, clean[None, :, None])
    found: Values = {}
    for m, name in enumerate(names):
        found[name, "road", "mean"] = shares[m].mean(axis=1)
        for s, step in enumerate(ROAD_FRACTIONS):
            found[name, "road", f"at {step:g}"] = shares[m, :, s]
    return found
