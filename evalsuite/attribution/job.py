"""What is asked of a batch of images: methods, target and measures, how many image passes that is, and what returns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.protocol.interpretability import TRIVIAL, TRIVIAL_PREFIX, Interpretability, Method

#: Shares of the network's parameters, from the output on, that are shuffled.
STAGES = {"all": (1.0,), "cascading": (0.25, 0.5, 0.75, 1.0)}
#: Infidelity: side of a square taken away, as a share of the image's side.
PATCH_SHARE = 0.25
#: Methods that subtract from the answer to the unchanged image.
COMPARING = ("occlusion", "feature_ablation")
ROAD_FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The protocol's block, and what of it is this batch's: a seed per image, and the target as the contract has it.

    `asked` holds no method that the package cannot do. Plain values only: a job crosses into the sandbox as JSON.
    """

    asked: Interpretability
    seeds: tuple[int, ...]
    output: int
    channels: tuple[int, ...]
    batch_size: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        return {
            "asked": self.asked.model_dump(mode="json", exclude_unset=True),
            "seeds": list(self.seeds), "output": self.output, "channels": list(self.channels),
            "batch_size": self.batch_size, "seed": self.seed,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Any) -> Job:
        return cls(
            asked=Interpretability.model_validate(data["asked"]),
            seeds=tuple(data["seeds"]), output=data["output"], channels=tuple(data["channels"]),
            batch_size=data["batch_size"], seed=data["seed"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """What comes back of `n` images: maps by name (n, *spatial) float32, values by key (n,) float64, NaN for none,
    image passes counted, and for each method what was found out on the way (the layer that was used)."""

    maps: dict[str, NDArray[np.float32]]
    values: dict[tuple[str, str, str], NDArray[np.float64]]
    passes: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def names_of_maps(asked: Interpretability) -> tuple[str, ...]:
    """Names of the maps of every image: methods, trivial baselines, then those that measures compare with.

    "grad_cam@randomised:1" is made with all parameters shuffled, "grad_cam@noise:0" of an image with a little noise.
    """
    labels = [m.label for m in asked.methods]
    found = [*labels, *(TRIVIAL_PREFIX + t for t in TRIVIAL)]
    if "randomisation" in asked.measures:
        found += [f"{label}@randomised:{share:g}" for label in labels for share in STAGES[asked.randomisation]]
    if "reproducibility" in asked.measures:
        found += [f"{label}@noise:{k}" for label in labels for k in range(asked.noise_samples)]
    return tuple(found)


def keys_of_values(asked: Interpretability, n_axes: int) -> tuple[tuple[str, str, str], ...]:
    """(map, measure, variant) of every value that needs the model; `n_axes` spatial axes."""
    keys: list[tuple[str, str, str]] = [("model", "target", "clean")]
    labels = [m.label for m in asked.methods]
    everything = [*labels, *(TRIVIAL_PREFIX + t for t in TRIVIAL)]
    if "sensitivity" in asked.measures:
        keys += [(label, "sensitivity", "max") for label in labels]
    if "infidelity" in asked.measures:
        keys += [(name, "infidelity", v) for name in everything for v in ("scaled", "unexplained")]
    for measure in ("deletion", "insertion"):
        if measure in asked.measures:
            steps = [f"at {f:g}" for f in fractions_of(asked)]
            keys += [(name, measure, v) for name in (*everything, "random") for v in ("auc", *steps)]
    if "road" in asked.measures and n_axes == 2:
        steps = [f"at {f:g}" for f in ROAD_FRACTIONS]
        keys += [(name, "road", v) for name in (*everything, "random") for v in ("mean", *steps)]
    return tuple(keys)


def fractions_of(asked: Interpretability) -> tuple[float, ...]:
    """Shares of the image that are gone (deletion) or there (insertion), from the first step to all of it."""
    return tuple(round((k + 1) / asked.fractions, 6) for k in range(asked.fractions))


# --- what it costs ---------------------------------------------------------------------------------------------------


def per_axis(value: int | list[int] | None, spatial: Sequence[int], default: Sequence[int]) -> tuple[int, ...]:
    """A side per axis, no longer than the image's."""
    chosen = list(default) if value is None else [value] * len(spatial) if isinstance(value, int) else list(value)
    if len(chosen) != len(spatial):
        raise ValueError(f"{len(chosen)} sides are given for an image of {len(spatial)} axes")
    return tuple(min(c, s) for c, s in zip(chosen, spatial, strict=True))


def window_of(method: Method, spatial: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sides of the occluding window, and how far it moves along each axis."""
    sides = per_axis(method.window, spatial, [max(1, math.ceil(s / 7)) for s in spatial])
    return sides, per_axis(method.stride, spatial, [max(1, side // 2) for side in sides])


def windows(method: Method, spatial: Sequence[int]) -> list[tuple[slice, ...]]:
    """Every place of the occluding window, the last of each axis cut at the border."""
    sides, steps = window_of(method, spatial)
    starts = [
        [k * step for k in range(math.ceil(max(0, s - side) / step) + 1)]
        for s, side, step in zip(spatial, sides, steps, strict=True)
    ]
    return [
        tuple(slice(a, min(a + side, s)) for a, side, s in zip(corner, sides, spatial, strict=True))
        for corner in itertools.product(*starts)
    ]


def cells(method: Method, spatial: Sequence[int]) -> list[tuple[slice, ...]]:
    """The cells of a grid that covers the image, as equal as whole pixels allow."""
    edges = [np.linspace(0, s, min(method.cells, s) + 1).round().astype(int).tolist() for s in spatial]
    return [
        tuple(slice(e[k], e[k + 1]) for e, k in zip(edges, corner, strict=True))
        for corner in itertools.product(*(range(len(e) - 1) for e in edges))
    ]


def passes_of_method(method: Method, spatial: Sequence[int]) -> int:
    """Image passes of one map, not counting the clean one that all share; those of gradient methods go both ways."""
    counts: dict[str, Callable[[], int]] = {
        "grad_cam": lambda: 1,
        "integrated_gradients": lambda: method.steps,
        "gradient_shap": lambda: method.draws,
        "deep_lift": lambda: 2,
        "guided_grad_cam": lambda: 2,
        "saliency": lambda: 1,
        "occlusion": lambda: len(windows(method, spatial)),
        "feature_ablation": lambda: len(cells(method, spatial)),
        "rise": lambda: method.draws,
    }
    return counts[method.method]()


def cost(asked: Interpretability, spatial: Sequence[int]) -> dict[str, int]:
    """Image passes of one case, by what they are for: known before the first of them.

    Maps of one method are made anew for every measure that changes the parameters or the image; an image without any
    change is shown once and remembered.
    """
    found = {"clean": 1}
    for method in asked.methods:
        found[method.label] = passes_of_method(method, spatial)
    one = sum(found[m.label] for m in asked.methods)
    # a method that compares with the unchanged image needs its answer anew where the image or the network is another
    again = 1 if any(m.method in COMPARING for m in asked.methods) else 0
    if "randomisation" in asked.measures:
        found["randomisation"] = len(STAGES[asked.randomisation]) * (one + again)
    if {"reproducibility", "sensitivity"} & set(asked.measures):
        found["noise"] = asked.noise_samples * (one + again)
    orders = len(asked.methods) + len(TRIVIAL) + 1
    if "infidelity" in asked.measures:
        found["infidelity"] = asked.patches
    for measure in ("deletion", "insertion"):
        if measure in asked.measures:
            # the image of which everything is gone, or there, is the same in every order
            found[measure] = orders * (asked.fractions - 1)
    if {"deletion", "insertion"} & set(asked.measures):
        found["emptied"] = 1
    if "road" in asked.measures and len(spatial) == 2:
        found["road"] = orders * len(ROAD_FRACTIONS)
    return found
