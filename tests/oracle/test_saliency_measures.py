"""Deletion, ROAD's imputation and likeness of maps, beside Quantus.

Oracle: Quantus 0.6.0, by tests/oracle/generators/saliency_measures.py, which makes the same images, maps and network.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evalsuite.attribution.job import Job
from evalsuite.attribution.measures import faithfulness
from evalsuite.attribution.scorer import Scorer
from evalsuite.models.contract import OutputSpec
from evalsuite.protocol.interpretability import Interpretability
from evalsuite.stats.faithfulness import imputed, order_of, rank_correlation, ssim, taken_away

SIDE, N, STEP = 12, 3, 16
ORACLE = json.loads((Path(__file__).parent / "data" / "saliency_measures.json").read_text())


@pytest.fixture(scope="module")
def material():
    rng = np.random.default_rng(20)
    images = rng.normal(size=(N, 1, SIDE, SIDE))
    maps = rng.random((N, SIDE, SIDE))
    return images, maps, rng.normal(size=(2, SIDE * SIDE)) / 4


def test_deletion_is_pixel_flipping(material):
    images, maps, weights = material
    w = torch.from_numpy(weights).float()
    asked = Interpretability.model_validate(
        {"measures": ["deletion"], "fractions": SIDE * SIDE // STEP, "target": {"of": "probabilities"}}
    )
    task = Job(asked=asked, seeds=(1, 2, 3), output=0, channels=(1,), batch_size=4, seed=1)
    scorer = Scorer(
        forward=lambda x: [x[0].flatten(1) @ w.T],
        spec=OutputSpec(name="y", meaning="probabilities", activation="softmax", classes=("no", "yes")),
        job=task,
        inputs=[torch.from_numpy(images).float()],
    )
    scorer.see()
    found = faithfulness(scorer, {"map": maps.astype(np.float32)}, {}, task)
    steps = [found["map", "deletion", f"at {round((k + 1) * STEP / SIDE**2, 6):g}"] for k in range(SIDE * SIDE // STEP)]
    np.testing.assert_allclose(np.stack(steps, axis=1), ORACLE["pixel_flipping"], atol=1e-5)


def test_imputation_is_roads(material):
    images, maps, _ = material
    for image, m, wanted in zip(images, maps, ORACLE["imputed"], strict=True):
        gone = taken_away(order_of(m, seed=1), 50 / SIDE**2, (SIDE, SIDE))
        np.testing.assert_allclose(imputed(image, gone, noise=0.0), wanted, atol=1e-9)


def test_likeness_of_maps_is_that_of_the_test_by_parameters(material):
    _, maps, _ = material
    for i in range(N):
        pair = maps[i], maps[(i + 1) % N]
        assert ssim(*pair) == pytest.approx(ORACLE["ssim"][i], abs=1e-9)
        assert rank_correlation(*pair) == pytest.approx(ORACLE["spearman"][i], abs=1e-9)
    assert ssim(maps[0], 3 * maps[0] + 1) == pytest.approx(1.0)
    assert ssim(maps[0], np.ones((SIDE, SIDE))) is None
    assert rank_correlation(np.ones((SIDE, SIDE)), maps[0]) is None
