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


class Tiles(BaseModel):
    """How a whole-slide image is cut into tiles of the input's size, and how their answers become the slide's.

    `mpp` is in micrometres per pixel; a level within `tolerance` of it is taken as it is. `tissue: saturation` leaves
    out tiles with less than `min_tissue` of tissue (`evalsuite.imaging.slide.tissue_mask`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mpp: float | None = Field(default=None, gt=0, description="pixel size in micrometres that the model takes")
    level: int | None = Field(default=None, ge=0, description="stored level to read, whatever its pixel size")
    tolerance: float = Field(default=0.02, ge=0, le=0.5, description="largest relative difference of a level's mpp")
    overlap: int = Field(default=0, ge=0, description="pixels two neighbouring tiles share")
    tissue: Literal["saturation", "none"] = "saturation"
    min_tissue: float = Field(default=0.1, gt=0, le=1)
    aggregate: Literal["mean", "max", "top_k"] = Field(
        description="the slide's number: mean or largest of its tiles', or the mean of the k largest"
    )
    k: int | None = Field(default=None, ge=1)


def tile_faults(spec: InputSpec) -> list[str]:
    """What keeps an input from being cut into tiles."""
    tiles = spec.tiles
    assert tiles is not None
    faults = []
    if (tiles.mpp is None) == (tiles.level is None):
        faults.append("tiles has either mpp or level")
    if len(spec.spatial) != 2 or None in spec.spatial:
        faults.append("tiles need two fixed spatial sizes in shape")
    elif tiles.overlap >= min(n or 0 for n in spec.spatial):
        faults.append("tiles.overlap is smaller than a tile")
    if (tiles.aggregate == "top_k") != (tiles.k is not None):
        faults.append("tiles.k is for aggregate: top_k, which needs it")
    if spec.missing_value is not None or spec.frame is not None or spec.layout != "one":
        faults.append("tiles go without frame, frames and missing_value")
    return faults


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
