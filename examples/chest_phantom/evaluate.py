"""Say in a few figures how the trained classifier does on a set of phantoms it has not seen.

    python examples/chest_phantom/evaluate.py --patients 250 --seed 20261123 --profile test

A quick look for whoever changes the generator or the training; the validation itself is `evalsuite run`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
if str(_HERE) not in sys.path:
    sys.path.insert(0, str(_HERE))

import torch  # noqa: E402
from package import load_network  # noqa: E402
from phantom.dataset import draw  # noqa: E402
from phantom.patients import PROFILES  # noqa: E402
from train import score, summary  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Command line of the quick look; figures go to standard output as JSON."""
    parser = argparse.ArgumentParser(description="Figures of the trained classifier on phantoms.")
    parser.add_argument("--patients", type=int, default=250)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="test")
    parser.add_argument("--training", type=Path, default=_HERE / "training")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    threshold = json.loads((args.training / "record.json").read_text(encoding="utf-8"))["threshold"]
    images = draw(args.patients, seed=args.seed, profile=args.profile, workers=args.threads)
    network = load_network(args.training / "weights.npz")
    sys.stdout.write(json.dumps(summary(images, score(network, images), threshold), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
