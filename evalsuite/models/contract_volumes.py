"""What a contract has to say about volumes, masks and windows: its own rules, and what is contradictory in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from evalsuite.imaging.grid import is_orientation

if TYPE_CHECKING:
    from evalsuite.models.contract import Contract, InputSpec, OutputSpec

NO_LABEL = 255  # a mask of nothing else says that what the network gave was not finite
MOST_CLASSES = 254


class SlidingWindow(BaseModel):
    """MONAI's sliding window: the network runs on windows of size `roi`, whose outputs are averaged where they overlap.

    `batch` windows go through the network at once. A volume smaller than `roi` is padded with zeros (after
    normalisation) and the padding is cut off again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    roi: tuple[int, ...] = Field(min_length=2, max_length=3)
    overlap: float = Field(default=0.25, ge=0, lt=1)
    mode: Literal["constant", "gaussian"] = "constant"
    sigma_scale: float = Field(default=0.125, gt=0, description="of mode gaussian, as a share of roi")
    batch: int = Field(default=1, ge=1)


def volume_faults(spec: InputSpec) -> list[str]:
    """What contradicts itself in an input's frames, spacing, orientation, resampling and fit."""
    faults = []
    n = len(spec.spatial)
    if spec.layout == "volume" and n != 3:
        faults.append("frames: volume needs three spatial sizes in shape")
    if spec.layout == "stack" and n != 3:
        faults.append("frames: stack needs [channels, frames, rows, columns] in shape")
    if spec.layout == "one" and n == 3:
        faults.append("three spatial sizes need frames: volume or stack")
    if spec.frame is not None and spec.layout != "one":
        faults.append(f"frame names one frame, frames says {spec.layout}")
    if spec.layout == "volume" and spec.transpose:
        faults.append("transpose is for plane images; orientation says how a volume's axes lie")
    if spec.orientation is not None and spec.orientation != "any":
        if not is_orientation(spec.orientation):
            faults.append("orientation is three letters, one of L/R, P/A and I/S each (RAS, LPS, …), or any")
        elif spec.layout != "volume":
            faults.append("orientation is for volumes")
    if isinstance(spec.spacing_mm, tuple):
        if len(spec.spacing_mm) != n:
            faults.append(f"spacing_mm has {len(spec.spacing_mm)} values, shape {n} spatial sizes")
        if any(not 0 < s < 1e4 for s in spec.spacing_mm):
            faults.append("spacing_mm is positive")
    if spec.resample != "none" and not (spec.layout == "volume" and isinstance(spec.spacing_mm, tuple)):
        faults.append("resample needs a volume and its spacing_mm")
    if spec.fit != "none" and (spec.layout != "volume" or None in spec.spatial):
        faults.append("fit needs a volume and three fixed spatial sizes in shape")
    if spec.pad_value is not None and spec.fit not in ("pad", "pad_or_crop"):
        faults.append("pad_value needs fit: pad or pad_or_crop")
    if spec.missing_value is not None and None in spec.shape:
        faults.append("missing_value needs fixed sizes in shape")
    own_range = spec.normalise == "linear" and spec.source_range is None
    if spec.missing_value is not None and own_range and spec.missing_value not in range(256):
        faults.append("missing_value is a whole number from 0 to 255, or source_range says what it means")
    return faults


def mask_faults(spec: OutputSpec) -> list[str]:
    """What contradicts itself in how an output becomes a mask."""
    faults = []
    if spec.meaning != "mask":
        if spec.decision is not None or spec.threshold is not None or spec.grid is not None:
            faults.append("decision, threshold and grid are for outputs of meaning: mask")
        return faults
    if not spec.classes:
        faults.append("classes names what the mask shows, e.g. classes: [background, lesion]")
    if len(spec.classes) > MOST_CLASSES:
        faults.append(f"a mask has at most {MOST_CLASSES} classes")
    if spec.decided == "argmax" and len(spec.classes) == 1:
        faults.append("argmax over one class is always that class; say decision: threshold and a threshold")
    if spec.decided == "threshold" and spec.threshold is None:
        faults.append("decision: threshold needs a threshold")
    if spec.decided != "threshold" and spec.threshold is not None:
        faults.append(f"decision: {spec.decided} has no threshold")
    if spec.decided == "threshold" and spec.activation == "softmax":
        faults.append("threshold is applied to a sigmoid, or to what the network gives; softmax goes with argmax")
    if spec.decided == "labels" and spec.activation != "none":
        faults.append("decision: labels takes what the network gives, without activation")
    return faults


def sliding_faults(contract: Contract) -> list[str]:
    """What keeps a network from being run through windows."""
    window = contract.sliding_window
    assert window is not None
    faults = []
    if len(contract.inputs) != 1:
        faults.append("sliding_window is for models of one input")
    elif len(window.roi) != len(contract.inputs[0].spatial):
        faults.append(f"sliding_window.roi has {len(window.roi)} sizes, shape {len(contract.inputs[0].spatial)}")
    if any(size < 1 for size in window.roi):
        faults.append("sliding_window.roi holds sizes of 1 or more")
    if any(output.meaning != "mask" for output in contract.outputs):
        faults.append("sliding_window is for outputs of meaning: mask")
    return faults
