"""Maps and infidelity of 16 images by DenseNet121, beside captum used as its tutorials use it, and beside the least.

    python -P benchmarks/attribution.py [--images 16] [--jobs N] [--batch 8] [--memory-format F] [--out FILE]

Grad-CAM, integrated gradients of 50 steps, occlusion of 32 × 32 windows every 16 pixels and infidelity of 32 squares,
on images of 224 × 224 by MONAI's DenseNet121. *captum*: one image after the other with default settings, torch's own
threads, in an environment where nothing is set. *evalsuite*: the code of a run,
`--jobs` processes of one thread as with `run --workers N`, as packaged or as a protocol may ask for it with
`inference.memory_format`. *floor*: the image
passes that the methods need at least, at the pace of plain forward passes (and forward and backward ones) in batches of
the same size by the same processes. Both must give the same maps. Nothing about time is asserted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evalsuite.models.environment import recommended_environment

SIDE, STEPS, WINDOW, STRIDE, PATCHES = 224, 50, 32, 16, 32
METHODS = [
    {"method": "grad_cam"},
    {"method": "integrated_gradients", "steps": STEPS, "sign": "signed"},
    {"method": "occlusion", "window": WINDOW, "stride": STRIDE, "sign": "signed"},
]
LAYER = "features.denseblock4.denselayer16.layers.conv2"


def network() -> torch.nn.Module:
    from monai.networks.nets import DenseNet121

    torch.manual_seed(0)
    return DenseNet121(spatial_dims=2, in_channels=3, out_channels=2).eval()


def images(n: int) -> torch.Tensor:
    return torch.rand((n, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) - 0.5


def job(numbers: list[int], batch: int, measures: tuple[str, ...] = ("infidelity",)) -> Any:
    from evalsuite.attribution.job import Job
    from evalsuite.protocol.interpretability import Interpretability

    block = {"methods": METHODS, "measures": list(measures), "patches": PATCHES, "target": {"of": "logits"}}
    return Job(
        asked=Interpretability.model_validate(block), seeds=tuple(100 + i for i in numbers), output=0, channels=(1,),
        batch_size=batch, seed=1,
    )  # fmt: skip


def package() -> Any:
    from evalsuite.models.base import PackagedModel
    from evalsuite.models.contract import build_contract
    from evalsuite.models.python_package import PythonNetwork

    contract = {
        "inputs": [{"name": "image", "shape": [3, SIDE, SIDE], "normalise": "none"}],
        "outputs": [{"name": "y", "meaning": "logits", "classes": ["no", "yes"]}],
    }
    return PackagedModel(
        name="densenet", format="python", digest="", contract=build_contract(contract, where="benchmark"),
        contract_digest="", size_bytes=0, network=PythonNetwork(call=network(), name="densenet"),
    )  # fmt: skip


# --- what is measured ------------------------------------------------------------------------------------------------

_KEPT: dict[str, Any] = {}


def _start(n: int, memory_format: str) -> None:
    from evalsuite.models.numerics import Numerics

    torch.set_num_threads(1)
    model = package().with_numerics(Numerics(memory_format=memory_format), threads=1)
    _KEPT.update(model=model, images=images(n))
    with torch.no_grad():
        _KEPT["model"].network.call(_KEPT["images"][:1])


def ours(numbers: list[int], batch: int) -> tuple[dict[str, np.ndarray], dict[Any, np.ndarray], dict[str, int]]:
    from evalsuite.attribution.run import attribute

    found = attribute(_KEPT["model"], [_KEPT["images"][numbers]], job(numbers, batch))
    return found.maps, found.values, found.passes


def passes(counts: tuple[int, int], batch: int) -> int:
    """So many forward passes, and so many forward and backward ones, and nothing else."""
    net = _KEPT["model"].network.call
    for p in net.parameters():
        p.requires_grad_(False)
    forward, both = counts
    x = _KEPT["images"][torch.arange(batch) % len(_KEPT["images"])]
    with torch.no_grad():
        for start in range(0, forward, batch):
            net(x[: min(batch, forward - start)])
    for start in range(0, both, batch):
        y = x[: min(batch, both - start)].clone().requires_grad_()
        torch.autograd.grad(net(y)[:, 1].sum(), y)
    return forward + both


def naive(net: torch.nn.Module, image: torch.Tensor, seed: int) -> dict[str, Any]:
    """One image as captum's tutorials do it: every argument at its default."""
    from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
    from captum.metrics import infidelity

    from evalsuite.attribution.measures import _places

    cam = LayerGradCam(net, net.get_submodule(LAYER)).attribute(image, target=1, relu_attributions=True)
    path = IntegratedGradients(net).attribute(image, target=1, n_steps=STEPS)
    lost = Occlusion(net).attribute(image, (3, WINDOW, WINDOW), strides=(3, STRIDE, STRIDE), target=1)
    places = _places(seed, (SIDE, SIDE), PATCHES)

    def taken(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gone = torch.zeros_like(inputs)
        for k, at in enumerate(places):
            gone[k][(slice(None), *at)] = 1.0
        return gone, inputs * (1.0 - gone)

    found = {"grad_cam": cam, "integrated_gradients": path, "occlusion": lost[:, :1]}  # the same in every channel
    measured = {}
    for name, m in found.items():
        large = m if m.shape[-1] == SIDE else torch.nn.functional.interpolate(m, size=(SIDE, SIDE), mode="bilinear")
        adds = large.sum(dim=1, keepdim=True).expand_as(image) / 3
        measured[name] = infidelity(net, taken, image, adds, target=1, n_perturb_samples=PATCHES, normalize=True)
        found[name] = large.sum(dim=1)
    return {name: (found[name][0].detach().numpy(), float(measured[name])) for name in found}


def _alone(n: int, cores: int) -> tuple[float, list[dict[str, Any]]]:
    """Seconds and maps of captum, in a process of its own with nothing set."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(cores)
    net, every = network(), images(n)
    naive(net, every[:1], 0)
    return timed(lambda: [naive(net, every[i : i + 1], 100 + i) for i in range(n)])


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--memory-format", choices=("package", "channels_last"), default="package")
    parser.add_argument("--out", type=Path)
    ask = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ.update(recommended_environment())  # as the command line does; the processes below read it
    shares = [list(range(k, ask.images, ask.jobs)) for k in range(min(ask.jobs, ask.images))]
    with ProcessPoolExecutor(
        len(shares), mp_context=get_context("spawn"), initializer=_start, initargs=(ask.images, ask.memory_format)
    ) as pool:
        list(pool.map(passes, [(1, 1)] * len(shares), [1] * len(shares)))  # everybody is there
        our_s, found = timed(lambda: list(pool.map(ours, shares, [ask.batch] * len(shares))))
        counted = {k: sum(p[k] for _, _, p in found) for k in found[0][2]}
        both = counted["grad_cam"] + counted["integrated_gradients"]
        plain = sum(counted.values()) - both
        split = [(round(plain * len(s) / ask.images), round(both * len(s) / ask.images)) for s in shares]
        floor_s, _ = timed(lambda: list(pool.map(passes, split, [ask.batch] * len(shares))))
    for name in recommended_environment():
        os.environ.pop(name, None)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        captum_s, theirs = pool.submit(_alone, ask.images, ask.jobs).result()
    farthest: dict[str, float] = {}
    for numbers, (maps, values, _) in zip(shares, found, strict=True):
        for k, i in enumerate(numbers):
            for name, (m, measured) in theirs[i].items():
                own = maps[name][k]
                apart = float(np.abs(own - m).max() / np.abs(m).max())
                apart = max(apart, abs(values[name, "infidelity", "scaled"][k] - measured) / max(measured, 1e-12))
                farthest[name] = max(farthest.get(name, 0.0), apart)
    text = table(ask, counted, our_s, floor_s, captum_s, farthest)
    sys.stdout.write(text)
    if ask.out is not None:
        ask.out.write_text(text, encoding="utf-8")


def table(
    ask: argparse.Namespace, counted: dict[str, int], our_s: float, floor_s: float, captum_s: float,
    farthest: dict[str, float],
) -> str:  # fmt: skip
    total = sum(counted.values())
    apart = ", ".join(f"{name} {value:.1e}" for name, value in farthest.items())
    rows = [
        "# Maps of what moves an answer: cost",
        "",
        f"`python -P benchmarks/attribution.py --images {ask.images} --jobs {ask.jobs} --batch {ask.batch} "
        f"--memory-format {ask.memory_format}`: "
        f"torch {torch.__version__}, {ask.jobs} processor cores, load at the end {os.getloadavg()[0]:.1f}.",
        f"DenseNet121, {ask.images} images of 224 × 224: {total:,} image passes "
        f"({', '.join(f'{k} {v:,}' for k, v in counted.items())}).",
        "",
        "| | seconds | against evalsuite |",
        "|---|---|---|",
        f"| captum, image by image, default settings | {captum_s:.1f} | {captum_s / our_s:.2f} |",
        f"| evalsuite | {our_s:.1f} | 1 |",
        f"| floor: as many plain passes | {floor_s:.1f} | {floor_s / our_s:.2f} |",
        "",
        f"evalsuite takes {our_s / floor_s:.2f} times the floor."
        f" Largest difference of maps and of infidelity, as a share of the largest value: {apart}.",
        "",
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
