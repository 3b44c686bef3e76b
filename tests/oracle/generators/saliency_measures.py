"""Measures of maps by Quantus: deletion, ROAD's imputation, and likeness of maps, on images anybody can make again.

    python tests/oracle/generators/saliency_measures.py > tests/oracle/data/saliency_measures.json

Run with Quantus 0.6.0, scikit-image 0.26.0 (Quantus is in no extra of this project: it brings a plotting library and
image packages that nothing here uses). It needs nothing of this project.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import quantus
import skimage
import torch
from quantus.functions.perturb_func import noisy_linear_imputation

SIDE, N, STEP = 12, 3, 16


def material() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (3, 1, 12, 12), maps (3, 12, 12) of distinct values, and weights (2, 144) of a linear network."""
    rng = np.random.default_rng(20)
    images = rng.normal(size=(N, 1, SIDE, SIDE))
    maps = rng.random((N, SIDE, SIDE))
    weights = rng.normal(size=(2, SIDE * SIDE)) / 4
    return images, maps, weights


def main() -> None:
    images, maps, weights = material()
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE, 2, bias=False))
    network[1].weight.data = torch.from_numpy(weights).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flipping = quantus.PixelFlipping(
            features_in_step=STEP, perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True
        )
        curves = flipping(
            model=network.eval(), x_batch=images.astype(np.float32), y_batch=np.ones(N, dtype=int),
            a_batch=maps[:, None].astype(np.float32), softmax=True, device="cpu",
        )  # fmt: skip
    road = []
    for i in range(N):
        gone = np.argsort(-maps[i].ravel())[:50]
        road.append(noisy_linear_imputation(images[i].astype(np.float64), gone, noise=0.0).tolist())
    like = {
        "ssim": [quantus.ssim(*_scaled(maps[i], maps[(i + 1) % N])) for i in range(N)],
        "spearman": [quantus.correlation_spearman(maps[i].ravel(), maps[(i + 1) % N].ravel()) for i in range(N)],
    }
    found = {
        "made_by": {"quantus": quantus.__version__, "scikit-image": skimage.__version__},
        "pixel_flipping": np.asarray(curves).tolist(),
        "imputed": road,
        **{k: [float(x) for x in v] for k, v in like.items()},
    }
    json.dump(found, sys.stdout)
    sys.stdout.write("\n")


def _scaled(*maps: np.ndarray) -> list[np.ndarray]:
    return [(m - m.min()) / (m.max() - m.min()) for m in maps]


if __name__ == "__main__":
    main()
