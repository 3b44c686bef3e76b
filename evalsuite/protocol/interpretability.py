"""Settings of the maps of what moves a device's answer: which methods, of which number, measured in which ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block, Name
from evalsuite.protocol.failures import stratum_problems
from evalsuite.protocol.localisation import Localisation, localisation_problems
from evalsuite.protocol.shortcuts import Shortcut, shortcut_problems

if TYPE_CHECKING:
    from evalsuite.protocol.schema import StudyProtocol

MethodName = Literal[
    "grad_cam", "integrated_gradients", "gradient_shap", "deep_lift", "guided_grad_cam", "saliency",
    "occlusion", "feature_ablation", "rise",
]  # fmt: skip
Measure = Literal[
    "randomisation", "reproducibility", "infidelity", "sensitivity", "insertion", "deletion", "road"
]  # fmt: skip
#: Methods that ask a network for its derivatives; the others need its answers alone.
GRADIENTS = ("grad_cam", "integrated_gradients", "gradient_shap", "deep_lift", "guided_grad_cam", "saliency")
#: Of those, the ones that say how fast the answer moves with a value, not what the value adds.
SLOPES = ("saliency",)
#: Maps that know nothing of the model, measured beside the others: the image itself, its edges, a blob at its centre.
TRIVIAL = ("image", "edges", "centre")
#: Where files of maps of a trivial baseline lie, and its name in tables of values.
TRIVIAL_PREFIX = "baseline_"
#: Which methods each setting is one of.
SETTINGS_OF: dict[str, tuple[str, ...]] = {
    "layer": ("grad_cam", "guided_grad_cam"),
    "steps": ("integrated_gradients",),
    "samples": ("gradient_shap", "rise"),
    "window": ("occlusion",),
    "stride": ("occlusion",),
    "cells": ("feature_ablation", "rise"),
    "baseline": ("integrated_gradients", "gradient_shap", "deep_lift", "occlusion", "feature_ablation", "rise"),
}

Side = Annotated[int, Field(ge=1, le=4096)]


class Method(Block):
    """One way of making a map of what moved the answer to a case."""

    method: MethodName = Field(description="grad_cam … saliency need derivatives, which not every format gives")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,59}$")] | None = Field(
        default=None, description="what it is called in tables; the method's own name if not given"
    )
    layer: Name | None = Field(
        default=None,
        description="grad_cam: the layer by its name in the network; if not given the last convolution that is not "
        "itself the output",
    )
    steps: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=50, description="integrated_gradients: points of the path (Gauss-Legendre)"
    )
    samples: Annotated[int, Field(ge=2, le=100000)] | None = Field(
        default=None, description="gradient_shap: draws per case (20 if not given); rise: masks (1000)"
    )
    window: Side | list[Side] | None = Field(
        default=None, description="occlusion: side of what is covered, in pixels; a seventh of each side if not given"
    )
    stride: Side | list[Side] | None = Field(
        default=None, description="occlusion: how far it moves each time; half the window if not given"
    )
    cells: Annotated[int, Field(ge=2, le=128)] = Field(
        default=8, description="feature_ablation, rise: cells along each axis"
    )
    baseline: Literal["zero", "mean", "minimum"] = Field(
        default="zero",
        description="what stands in for what is taken away, in the units the network sees: 0, or the mean or smallest "
        "value of each channel of the image",
    )
    sign: Literal["positive", "absolute", "signed"] = Field(
        default="positive", description="what of the channels' sum the map shows; grad_cam is positive in any case"
    )

    @property
    def label(self) -> str:
        """What it is called in tables, and the folder of its maps."""
        return self.name or self.method

    @property
    def draws(self) -> int:
        """Draws or masks per case."""
        return self.samples or (20 if self.method == "gradient_shap" else 1000)

    @model_validator(mode="after")
    def _consistent(self) -> Method:
        fields = type(self).model_fields
        wrong = [k for k, ms in SETTINGS_OF.items() if self.method not in ms and getattr(self, k) != fields[k].default]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} is no setting of {self.method}")
        if self.label.startswith(TRIVIAL_PREFIX):
            raise ValueError(f"names that begin with {TRIVIAL_PREFIX} are those of trivial baselines")
        return self


class Target(Block):
    """The one number of each case whose movements a map shows."""

    output: Name | None = Field(default=None, description="output of the network; its first if not given")
    classes: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None, description="classes of that output, taken together; if not given those that `task.score` adds up"
    )
    of: Literal["log_odds", "logits", "probabilities"] = Field(
        default="log_odds",
        description="log_odds of the classes together; logits: the network's own numbers added up; probabilities: what "
        "they are after the activation, added up. Of a mask: logits over the voxels it called, added up",
    )
    places: Literal["strongest", "sum"] = Field(
        default="strongest", description="of an output with several places per case (marks): the largest, or all"
    )


class Interpretability(Block):
    """What an answer depends on: shortcuts by behaviour, and maps by measures. Nothing is judged by it."""

    cases: Annotated[int, Field(ge=1, le=100000)] = Field(
        default=64,
        description="cases with maps at most: whole patients, drawn by the seed while the reference is closed",
    )
    methods: list[Method] = Field(default_factory=list, description="ways of making maps")
    target: Target = Field(default=Target(), description="whose movements the maps show")
    measures: list[Measure] = Field(
        default=["randomisation", "reproducibility", "deletion"],
        description="what is measured of each map, beside trivial baselines; road is for plane images",
    )
    randomisation: Literal["all", "cascading"] = Field(
        default="all", description="parameters that are shuffled: all, or a quarter more at a time from the output on"
    )
    noise: Annotated[float, Field(gt=0.0, le=0.5)] = Field(
        default=0.02,
        description="reproducibility, sensitivity: largest change of a pixel, as a share of the image's own range",
    )
    noise_samples: Annotated[int, Field(ge=1, le=100)] = Field(
        default=3, description="reproducibility, sensitivity: images with such noise per case"
    )
    fill: Literal["zero", "mean", "minimum"] = Field(
        default="zero", description="infidelity, deletion, insertion: what takes the place of pixels, as `baseline`"
    )
    patches: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=32, description="infidelity: squares taken away, one at a time"
    )
    fractions: Annotated[int, Field(ge=2, le=64)] = Field(
        default=10, description="insertion, deletion, road: equal steps from nothing to the whole image"
    )
    groups: list[Name] | None = Field(
        default=None,
        description="strata in which figures are given too; all that are no crosses if not given, `[]` for none",
    )
    shortcuts: tuple[Shortcut, ...] = Field(
        default=(), description="suspected regions that are taken out or put in, and the answers watched"
    )
    localisation: Localisation | None = Field(default=None, description="whether maps point at lesions")


def interpretability_problems(protocol: StudyProtocol, unreadable: str) -> Iterator[Problem]:
    """Every contradiction in `analyses.interpretability`."""
    yield from shortcut_problems(protocol, unreadable)
    yield from localisation_problems(protocol)
    asked = protocol.analyses.interpretability
    if asked is None:
        return
    path = "analyses.interpretability"
    labels = [m.label for m in asked.methods]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            yield Problem(f"two methods are called '{label}'", f"{path}.methods[{i}]", "give one a name")
    for i, measure in enumerate(asked.measures):
        if measure in asked.measures[:i]:
            yield Problem(f"'{measure}' named twice", f"{path}.measures[{i}]", "remove one")
    yield from stratum_problems(protocol, asked.groups or [], f"{path}.groups", unreadable)
    if asked.methods:
        used = protocol.inference
        for key, own in (("precision", ("package", "float32")), ("backend", ("package",))):
            if getattr(used, key) not in own:
                what = f"maps are made of the model as it was packaged, and inference.{key} is {getattr(used, key)}"
                yield Problem(what, f"inference.{key}", "leave it out, or the methods")
