"""Train the demonstration classifier on development phantoms and fix its threshold on a separate tuning set.

    python examples/chest_phantom/train.py

Writes `training/weights.npz` and `training/record.json`. Seeded: the same platform gives the same weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parent
if str(_HERE) not in sys.path:
    sys.path.insert(0, str(_HERE))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from package import load_network  # noqa: E402
from phantom.dataset import Images, draw  # noqa: E402
from phantom.network import NoduleNet  # noqa: E402
from scipy.stats import rankdata  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

TRAIN_SEED, TUNE_SEED = 1001, 2002
TARGET_SENSITIVITY = 0.85


def auroc(target: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Area under the ROC curve by ranks, ties counting half."""
    n_positive = int(target.sum())
    n_negative = len(target) - n_positive
    ranks = rankdata(score)
    return float((ranks[target].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def threshold_at(target: NDArray[np.bool_], score: NDArray[np.float64], sensitivity: float) -> float:
    """Highest threshold, in steps of 0.005, at which at least this share of the positive cases is called."""
    steps = np.arange(1, 200) * 0.005
    reached = [float(s) for s in steps if (score[target] >= s).mean() >= sensitivity]
    return round(max(reached), 3)


def _augment(batch: Tensor, place: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Shift by up to 4 pixels of the halved image, in steps of 4 so that the map of places moves along."""
    shift = [int(s) for s in rng.integers(-1, 2, size=2)]
    moved = torch.roll(batch, [4 * s for s in shift], dims=(2, 3))
    return moved, torch.roll(place, shift, dims=(2, 3))


def _erased(batch: Tensor, rng: np.random.Generator) -> Tensor:
    """Blocks of random grey values anywhere in two of three images: foreign things that say nothing of disease."""
    batch = batch.clone()
    for image in batch[:, 0]:
        for _ in range(int(rng.integers(0, 3))):
            height, width = (int(s) for s in rng.integers((3, 6), (14, 40)))
            row, col = int(rng.integers(0, 128 - height)), int(rng.integers(0, 128 - width))
            ground, grey = (float(v) for v in (rng.uniform(0.0, 1.0, size=2) - 0.45) * 4.0)
            dots = torch.from_numpy(rng.random((height, width)) < rng.uniform(0.1, 0.9))
            image[row : row + height, col : col + width] = torch.where(dots, grey, ground)
    return batch


def fit(
    images: Images, *, epochs: int, seed: int, verbose: bool, erase: bool = False, start: Path | None = None
) -> NoduleNet:
    """Train a network: binary cross-entropy on the image, and on the places of the nodules as a side task.

    `erase` puts blocks of random values into the images it learns from; `start` are weights to go on from.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = NoduleNet() if start is None else load_network(start)
    small = (torch.from_numpy(images.image)[:, None] - 0.45) * 4.0
    target = torch.from_numpy(images.target.astype(np.float32))[:, None]
    place = torch.from_numpy(images.place.astype(np.float32))[:, None]
    size = 32
    steps = epochs * (len(small) // size)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps, pct_start=0.25)
    weight = torch.tensor(12.0)
    for epoch in range(epochs):
        network.train()
        order, total = rng.permutation(len(small)), 0.0
        for start in range(0, len(small) - size + 1, size):
            index = torch.from_numpy(order[start : start + size])
            batch, where = _augment(small[index], place[index], rng)
            logit, local = network.evidence(_erased(batch, rng) if erase else batch)
            loss = functional.binary_cross_entropy_with_logits(logit, target[index])
            loss = loss + 2.0 * functional.binary_cross_entropy_with_logits(local, where, pos_weight=weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        if verbose:
            sys.stderr.write(f"epoch {epoch + 1:2d} of {epochs}   loss {total / (len(small) // size):.4f}\n")
    return network.eval()


def score(network: NoduleNet, images: Images) -> NDArray[np.float64]:
    """Probability of a nodule for every image."""
    small = (torch.from_numpy(images.image)[:, None] - 0.45) * 4.0
    with torch.inference_mode():
        logits = torch.cat([network.evidence(part)[0] for part in small.split(64)])
    return torch.sigmoid(logits)[:, 0].double().numpy()


def summary(images: Images, scores: NDArray[np.float64], threshold: float) -> dict[str, object]:
    """Figures of a set: AUROC whole and by manufacturer, sensitivity and specificity, specificity by marker."""
    called, target = scores >= threshold, images.target
    makers = {
        str(m): round(auroc(target[images.manufacturer == m], scores[images.manufacturer == m]), 4)
        for m in np.unique(images.manufacturer)
    }
    return {
        "n": len(target),
        "n_positive": int(target.sum()),
        "auroc": round(auroc(target, scores), 4),
        "auroc_by_manufacturer": makers,
        "sensitivity": round(float(called[target].mean()), 4),
        "specificity": round(float(1 - called[~target].mean()), 4),
        **_by_marker(images, called),
    }


def _by_marker(images: Images, called: NDArray[np.bool_]) -> dict[str, float]:
    """Specificity with and without the marker; nothing where no image of a healthy lung has one."""
    healthy = ~images.target
    if not (healthy & images.marker).any():
        return {}
    return {
        "specificity_with_marker": round(float(1 - called[healthy & images.marker].mean()), 4),
        "specificity_without_marker": round(float(1 - called[healthy & ~images.marker].mean()), 4),
    }


def main(argv: list[str] | None = None) -> int:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description="Train the demonstration classifier.")
    parser.add_argument("--out", type=Path, default=_HERE / "training")
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--tuning-patients", type=int, default=350)
    parser.add_argument("--profile", choices=("train", "train-clean"), default="train")
    parser.add_argument("--erase", action="store_true", help="put blocks of random values into training images")
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    began = time.monotonic()
    training = draw(args.patients, seed=TRAIN_SEED, profile=args.profile, workers=args.threads)
    tuning = draw(args.tuning_patients, seed=TUNE_SEED, profile=args.profile, workers=args.threads)
    drawn = time.monotonic()
    network = fit(
        training, epochs=args.epochs, seed=args.seed, verbose=args.verbose, erase=args.erase, start=args.start
    )
    scores = score(network, tuning)
    threshold = threshold_at(tuning.target, scores, TARGET_SENSITIVITY)
    record = {
        "seed": args.seed,
        "profile": args.profile,
        "erase": args.erase,
        "start": None if args.start is None else args.start.name,
        "training": {"seed": TRAIN_SEED, "patients": args.patients, "images": len(training.target)},
        "epochs": args.epochs,
        "parameters": sum(p.numel() for p in network.parameters()),
        "threshold": threshold,
        "threshold_rule": f"highest with sensitivity of at least {TARGET_SENSITIVITY} on the tuning set",
        "tuning": {"seed": TUNE_SEED, "patients": args.tuning_patients, **summary(tuning, scores, threshold)},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez(args.out / "weights.npz", **{name: value.numpy() for name, value in network.state_dict().items()})
    (args.out / "record.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if args.verbose:
        sys.stderr.write(f"drawn in {drawn - began:.0f} s, trained in {time.monotonic() - drawn:.0f} s\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
