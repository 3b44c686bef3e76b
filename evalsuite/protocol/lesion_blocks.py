"""Settings of tasks that find and outline: which mark belongs to which lesion, groups of lesions, empty masks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evalsuite.protocol.blocks import Block, Name


class Matching(Block):
    """When a mark counts as having found a lesion. Limits include themselves."""

    rule: Literal["distance", "inside", "overlap", "in_mask"] = Field(
        description="distance: from the lesion's centre; inside: the mark (a box's centre) lies in the lesion's box; "
        "overlap: intersection over union of the two boxes; in_mask: the reference column names a mask of each case, "
        "and the mark (a box's centre) lies in a lesion of it"
    )
    lesions: Literal["components", "labels"] | None = Field(
        default=None,
        description="in_mask: what a lesion is: a connected region (voxels that touch by a corner belong together; the "
        "default), or all voxels of one value",
    )
    distance_mm: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="largest distance; the lesion's radius (column `diameter_mm`) if not given"
    )
    overlap: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        default=None, description="smallest intersection over union, for the rule overlap"
    )
    assignment: Literal["by_score", "by_closeness", "best_total"] = Field(
        default="by_score",
        description="who chooses first: the highest score, the closest pair, or the best sum of overlaps",
    )
    same_mark_mm: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None,
        description="comparisons: largest distance of two devices' marks that lie at one place, for the overlap of "
        "their false marks; `distance_mm`, or `overlap` of their boxes, if not given",
    )
    extra: Literal["ignored", "false"] = Field(
        default="ignored", description="what a further mark on a lesion that was found is: ignored or a false positive"
    )


class LesionStratum(Block):
    """Groups of lesions, by a column of the lesion table; false positives belong to no group and count in all."""

    name: Name = Field(description="what the report calls it")
    column: Name | None = Field(default=None, description="column of the lesion table; `name` if not given")
    bins: Annotated[list[float], Field(min_length=1)] | None = Field(
        default=None, description="increasing edges, e.g. of a size: `[6, 8]` is <6, 6-<8, >=8"
    )


class ReferenceFile(Block):
    """What number is read from the files that the reference column names."""

    kind: Literal["report", "mask_volume_ml", "mask_diameter_mm"] = Field(
        description="report: a measurement of a DICOM structured report (TID 1500); or the volume of a mask, or the "
        "longest distance between two of its voxels"
    )
    concept: Name | None = Field(default=None, description="report: code or words of the measurement, e.g. Volume")
    unit: Name | None = Field(default=None, description="report: its UCUM unit, e.g. ml; another one is an error")
    tracking: Name | None = Field(
        default=None, description="report: tracking identifier of the group, where several measure the same"
    )
    label: Annotated[int, Field(ge=1, le=255)] | None = Field(
        default=None, description="mask: its value in the file; whatever is not 0 unless stated"
    )


class EmptyMasks(Block):
    """What a figure of one case is where a mask of the structure is empty."""

    both: Literal["undefined", "perfect"] = Field(
        default="undefined", description="reference and output: left out of the mean (and counted), or the best value"
    )
    reference: Literal["worst", "undefined"] = Field(
        default="worst", description="the reference alone, a false alarm: the worst value (of distances `maximum`)"
    )
    prediction: Literal["worst", "undefined"] = Field(default="worst", description="the output alone, a miss")
