"""Maps and infidelity of 16 images by DenseNet121, beside captum used as its tutorials use it, and beside the least.

    python -P benchmarks/attribution.py [--images 16] [--jobs N] [--batch 16] [--memory-format F] [--out FILE]
    python -P benchmarks/attribution.py --keep FOLDER --ways captum --seconds 100   # it goes on where it stopped

Grad-CAM, integrated gradients of 50 steps, occlusion of 32 × 32 windows every 16 pixels and infidelity of 32 squares,
on images of 224 × 224 by MONAI's DenseNet121. *captum*: one image after the other with every argument at its default,
torch's own threads, in an environment where nothing is set. *evalsuite*: what a run with `--workers N` does for
`analyses.interpretability`: PNG files are read, sandboxed workers of one thread, opened before as for the run's
predictions, make maps and values, and these are stored; as packaged or as a protocol may ask for it with
`inference.memory_format`. *floor*: the image passes that the methods need at least, as plain forward passes, and as
forward passes with the derivative by the image where a method needs that, in batches of the same size by as many
processes of one thread in the same environment and memory format. Both must give the same maps. Nothing about time is
asserted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1])]

from benchmarks.kept import Kept  # noqa: E402
from benchmarks.watch import watched  # noqa: E402
from evalsuite.models.environment import recommended_environment  # noqa: E402

WAYS = ("captum", "evalsuite", "floor")
FORMATS = ("package", "channels_last")
PART = 4  # of the floor every fourth pass is made: one pass takes as long as another
SIDE, STEPS, WINDOW, STRIDE, PATCHES, SEED = 224, 50, 32, 16, 32, 1
ASKED = {
    "methods": [
        {"method": "grad_cam"},
        {"method": "integrated_gradients", "steps": STEPS, "sign": "signed"},
        {"method": "occlusion", "window": WINDOW, "stride": STRIDE, "sign": "signed"},
    ],
    "measures": ["infidelity"],
    "patches": PATCHES,
    "target": {"of": "logits", "classes": ["yes"]},
}
LAYER = "features.denseblock4.denselayer16.layers.conv2"
SOURCE = """\
def build():
    import torch
    from monai.networks.nets import DenseNet121

    torch.manual_seed(0)
    return DenseNet121(spatial_dims=2, in_channels=3, out_channels=2).eval()
"""
CONTRACT = """\
schema: evalsuite/model/1
name: densenet121-random
entry_point: network:build
inputs:
  - {name: image, shape: [3, 224, 224], colour: RGB, source_range: [0, 255]}
outputs:
  - {name: y, meaning: logits, activation: softmax, classes: ["no", "yes"]}
"""


def network() -> Any:
    """The network that the package holds, in this process."""
    found: dict[str, Any] = {}
    exec(SOURCE, found)
    return found["build"]()


def package(folder: Path) -> Path:
    place = folder / "densenet"
    place.mkdir(exist_ok=True)
    (place / "network.py").write_text(SOURCE, encoding="utf-8")
    (place / "evalsuite-model.yaml").write_text(CONTRACT, encoding="utf-8")
    return place


def images(n: int) -> tuple[Any, Any]:
    """A test set of PNG files, and their values (n, 3, 224, 224) as the network takes them."""
    import torch

    from benchmarks.engine_data import png_files, testset_of
    from evalsuite.inference.hooks import bind_inputs, default_hooks
    from evalsuite.models.open import open_model
    from evalsuite.models.preprocess import normalise

    folder = Path(tempfile.mkdtemp(prefix="evalsuite-benchmark-"))
    testset = testset_of(png_files(folder, n, size=SIDE))
    model: Any = open_model(package(folder))
    hooks = default_hooks(model, bind_inputs(model.contract, testset.cases))
    spec = model.contract.inputs[0]
    stored = [normalise(torch.from_numpy(hooks.read(c)[spec.name])[None], spec) for c in testset.cases]
    return testset, torch.cat(stored)


# --- evalsuite -------------------------------------------------------------------------------------------------------


def ours(ask: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from evalsuite.inference.attributed import attribute_sample
    from evalsuite.inference.attribution_store import read_map
    from evalsuite.inference.settings import InferenceSettings
    from evalsuite.inference.staff import hire
    from evalsuite.protocol.interpretability import Interpretability
    from evalsuite.sandbox.open import open_model

    testset, _ = images(ask.images)
    settings = InferenceSettings(
        device="cpu", batch_size=ask.batch, threads=1, workers=ask.jobs, decoders=1, memory_format=ask.memory_format
    )
    asked = Interpretability.model_validate({**ASKED, "cases": ask.images})
    model: Any = open_model(package(folder)).with_threads(1)
    try:
        if not settings.numerics.as_packaged:
            model = model.with_numerics(settings.numerics, threads=1)
        hire(model, ["cpu"] * ask.jobs, settings, threads=1, most=ask.images)  # as the predictions of a run did
        with tempfile.TemporaryDirectory() as work:
            seen, found = watched(
                lambda: attribute_sample(
                    model, testset, asked, score=None, settings=settings, work=Path(work), seed=SEED
                )
            )
            cases = [c.case_id for c in testset.cases]
            labels = [m.label for m in asked.methods]
            maps = {label: np.stack([read_map(found.maps[label][c]) for c in cases]) for label in labels}
    finally:
        model.close()
    measured = {
        (c, m): v for c, m, measure, variant, v in found.values if (measure, variant) == ("infidelity", "scaled")
    }
    maps |= {f"{label} infidelity": np.array([measured[c, label] for c in cases]) for label in labels}
    np.savez(folder / f"evalsuite-{ask.memory_format}.npz", **maps)
    return {**seen.to_json(), "passes": found.record["passes"]}


# --- the least -------------------------------------------------------------------------------------------------------

_KEPT: dict[str, Any] = {}


def _start(n: int, memory_format: str) -> None:
    import torch

    torch.set_num_threads(1)
    form = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    net, shown = network().to(memory_format=form), torch.rand((n, 3, SIDE, SIDE)).contiguous(memory_format=form)
    for p in net.parameters():
        p.requires_grad_(False)
    _KEPT.update(net=net, images=shown)
    _passes((n, n), n)


def _passes(counts: tuple[int, int], batch: int) -> None:
    """So many forward passes, so many forward passes with the derivative by the image, and nothing else."""
    import torch

    net, x, (forward, both) = _KEPT["net"], _KEPT["images"], counts
    with torch.inference_mode():
        for start in range(0, forward, batch):
            net(x[: min(batch, forward - start)])
    for start in range(0, both, batch):
        y = x[: min(batch, both - start)].clone().requires_grad_()
        torch.autograd.grad(net(y)[:, 1].sum(), y)


def floor(ask: argparse.Namespace, counted: dict[str, int]) -> dict[str, Any]:
    both = counted["grad_cam"] + counted["integrated_gradients"]
    share = (round((sum(counted.values()) - both) / ask.jobs / PART), round(both / ask.jobs / PART))
    with ProcessPoolExecutor(
        ask.jobs, mp_context=get_context("spawn"), initializer=_start, initargs=(ask.batch, ask.memory_format)
    ) as pool:
        list(pool.map(time.sleep, [2.0] * ask.jobs))  # everybody is there
        seen, _ = watched(lambda: list(pool.map(_passes, [share] * ask.jobs, [ask.batch] * ask.jobs)))
    return {name: value if name == "peak_bytes" else PART * value for name, value in seen.to_json().items()}


# --- captum ----------------------------------------------------------------------------------------------------------


def naive(net: Any, image: Any, seed: int) -> dict[str, Any]:
    """One image as captum's tutorials do it: every argument at its default."""
    import torch
    from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
    from captum.metrics import infidelity

    from evalsuite.attribution.measures import _places

    cam = LayerGradCam(net, net.get_submodule(LAYER)).attribute(image, target=1, relu_attributions=True)
    path = IntegratedGradients(net).attribute(image, target=1, n_steps=STEPS)
    lost = Occlusion(net).attribute(image, (3, WINDOW, WINDOW), strides=(3, STRIDE, STRIDE), target=1)
    places = _places(seed, (SIDE, SIDE), PATCHES)

    def taken(inputs: Any) -> tuple[Any, Any]:
        gone = torch.zeros_like(inputs)
        for k, at in enumerate(places):
            gone[k][(slice(None), *at)] = 1.0
        return gone, inputs * (1.0 - gone)

    found = {}
    made = {"grad_cam": cam, "integrated_gradients": path, "occlusion": lost[:, :1]}  # the same in every channel
    for name, m in made.items():
        large = m if m.shape[-1] == SIDE else torch.nn.functional.interpolate(m, size=(SIDE, SIDE), mode="bilinear")
        adds = large.sum(dim=1, keepdim=True).expand_as(image) / 3
        measured = infidelity(net, taken, image, adds, target=1, n_perturb_samples=PATCHES, normalize=True)
        found[name] = large.sum(dim=1)[0].detach().numpy()
        found[f"{name} infidelity"] = np.array(float(measured))
    return found


def _alone(ask: argparse.Namespace, folder: Path) -> None:
    """Image after image until the time is up, in a process of its own with nothing set."""
    import torch

    from evalsuite.inference.attributed import _seed_of

    warnings.simplefilter("ignore")
    torch.set_num_threads(ask.cores)
    testset, every = images(ask.images)
    net = network()
    with torch.no_grad():
        net(every[:1])
    kept, started = _kept(ask), time.perf_counter()

    def one(i: int) -> dict[str, Any]:
        seen, maps = watched(lambda: naive(net, every[i : i + 1], _seed_of(SEED, testset.cases[i].case_id)))
        np.savez(folder / f"captum-{i}.npz", **maps)
        return seen.to_json()

    for i in range(ask.images):
        if time.perf_counter() - started < ask.seconds:
            kept.row(f"captum {i}", lambda: one(i))  # noqa: B023


def _kept(ask: argparse.Namespace) -> Kept:
    return Kept(ask.keep / "rows.json", f"{ask.images} images, {ask.cores} cores")


# --- together --------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--memory-format", choices=FORMATS, default="package")
    parser.add_argument("--ways", default=",".join(WAYS), help="of what is not kept, make only this")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no image with captum after these")
    parser.add_argument("--keep", type=Path, help="a folder for finished rows: the same command goes on")
    parser.add_argument("--out", type=Path)
    ask = parser.parse_args()
    ask.cores = len(os.sched_getaffinity(0))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        ask.keep = ask.keep or Path(scratch)
        ask.keep.mkdir(parents=True, exist_ok=True)
        text = measure(ask, ask.keep)
    sys.stdout.write(text)
    if ask.out is not None:
        ask.out.write_text(text, encoding="utf-8")


def measure(ask: argparse.Namespace, folder: Path) -> str:
    """The table, or which rows are still to be made."""
    ways = ask.ways.split(",")
    if "captum" in ways:
        for name in [*recommended_environment(), "OMP_NUM_THREADS", "MKL_NUM_THREADS"]:
            os.environ.pop(name, None)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(_alone, ask, folder).result()
    kept = _kept(ask)
    os.environ.update(recommended_environment())  # as the command line does; the processes below read it
    if "evalsuite" in ways:
        kept.row(_name("evalsuite", ask), lambda: ours(ask, folder))
    if "floor" in ways:
        counted = kept.row(_name("evalsuite", ask), lambda: ours(ask, folder))["passes"]
        kept.row(_name("floor", ask), lambda: floor(ask, counted))
    wanted = [*(f"captum {i}" for i in range(ask.images)), _name("evalsuite", ask), _name("floor", ask)]
    missing = [name for name in wanted if name not in kept.names]
    if missing:
        return f"{len(wanted) - len(missing)} of {len(wanted)} rows are made; missing: {'; '.join(missing)}\n"
    return table(ask, kept, folder)


def _name(way: str, ask: argparse.Namespace) -> str:
    return f"{way}, {ask.jobs} jobs, batch {ask.batch}, {ask.memory_format}"


def apart(ask: argparse.Namespace, folder: Path) -> dict[str, float]:
    """The largest difference of a map, and of its infidelity, as a share of the largest value."""
    found: dict[str, float] = {}
    with np.load(folder / f"evalsuite-{ask.memory_format}.npz") as own:
        for i in range(ask.images):
            with np.load(folder / f"captum-{i}.npz") as theirs:
                for name in theirs.files:
                    scale = max(float(np.abs(theirs[name]).max()), 1e-12)
                    by = float(np.abs(own[name][i] - theirs[name]).max()) / scale
                    found[name] = max(found.get(name, 0.0), by)
    return found


def table(ask: argparse.Namespace, kept: Kept, folder: Path) -> str:
    """What was asked for, and the other memory format beside it where that was made with the same settings."""
    import torch

    from evalsuite.inference.device import device_name

    theirs = [kept.row(f"captum {i}", dict) for i in range(ask.images)]
    captum = {key: sum(row[key] for row in theirs) for key in ("wall_s", "own_s", "others_s")}
    rows = [("captum, image by image, default settings", captum | {"peak_bytes": max(r["peak_bytes"] for r in theirs)})]
    said = []
    for form in FORMATS:
        this = argparse.Namespace(**{**vars(ask), "memory_format": form})
        if not {_name("evalsuite", this), _name("floor", this)} <= set(kept.names):
            continue
        own, least = (kept.row(_name(way, this), dict) for way in ("evalsuite", "floor"))
        words = "as packaged" if form == "package" else f"`memory_format: {form}`"
        rows += [(f"evalsuite, {words}", own), (f"floor, {words}: as many plain passes", least)]
        differences = ", ".join(f"{name} {value:.1e}" for name, value in apart(this, folder).items())
        said += [
            "",
            f"evalsuite, {words}: **{captum['wall_s'] / own['wall_s']:.2f} times as fast as captum, "
            f"{own['wall_s'] / least['wall_s']:.2f} times the floor.** "
            f"Largest difference from captum as a share of the largest value: {differences}.",
        ]
        passes = own["passes"]
    lines = [
        "# Maps of what moves an answer: cost",
        "",
        f"`python -P benchmarks/attribution.py --images {ask.images} --jobs {ask.jobs} --batch {ask.batch}`: "
        f"torch {torch.__version__}, {device_name('cpu')}, {ask.cores} cores.",
        f"DenseNet121, {ask.images} images of 224 × 224: {sum(passes.values()):,} image passes "
        f"({', '.join(f'{k} {v:,}' for k, v in passes.items())}).",
        "",
        "| | seconds | processor seconds | of others meanwhile | peak memory, GB |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows:
        lines.append(
            f"| {name} | {row['wall_s']:.1f} | {row['own_s']:.0f} | {row['others_s']:.1f} | "
            f"{row['peak_bytes'] / 1e9:.1f} |"
        )
    return "\n".join([*lines, *said, "", _NOTES])


_NOTES = """\
*Of others*: processor seconds that the rest of the machine used meanwhile. *Peak memory*: the sum of the highest
resident sizes of all processes. evalsuite's time is of this step of a run: files are read and decoded, the processes
that made the predictions are asked, maps are compressed and stored. A pass of the floor is a forward pass, and for
Grad-CAM and integrated gradients one with the derivative by the image, parameters fixed; every fourth pass of the floor
was made, and the time is four times that.
"""


if __name__ == "__main__":
    main()
