"""Settings of the comparison of maps with lesions: which maps, which masks, and what counts as salient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evalsuite.errors import Problem
from evalsuite.protocol.blocks import Block, Name

if TYPE_CHECKING:
    from evalsuite.protocol.schema import StudyProtocol

_PATH = "analyses.interpretability.localisation"
#: The keys that name sealed columns of files.
LOCALISATION_COLUMNS = (f"{_PATH}.reference", f"{_PATH}.maps")


class Localisation(Block):
    """Whether maps point at lesions, beside chance and maps that know nothing of the model. Nothing is judged by it."""

    reference: Name = Field(
        description="case-table column of the lesions: mask files, or tables of boxes (CSV or Parquet, one for all "
        "cases or one each: case_id, x0, y0, x1, y1, with z0 and z1 in volumes, in mm); cases with an empty cell, or "
        "without a row, are left out"
    )
    coordinates: Literal["image", "lps", "ras"] = Field(
        default="image",
        description="of boxes: from the centre of the image's first pixel, x along columns, y along rows, z along "
        "slices (an image without spacing counts pixels); or in the patient, as in DICOM (lps) or NIfTI (ras)",
    )
    maps: Name | None = Field(
        default=None,
        description="case-table column of files with maps made elsewhere (images or NIfTI, higher is more salient); "
        "the stored maps of every attribution method if not given",
    )
    salient: Literal["brightest", "of_maximum", "value"] = Field(
        default="brightest",
        description="what counts as salient, fixed beforehand: the brightest share of the map, what reaches a share of "
        "its maximum, or what reaches a value",
    )
    threshold: Annotated[float, Field(gt=0.0)] = Field(
        default=0.05, description="that share, or that value in the map's own units"
    )
    baselines: bool = Field(
        default=True, description="also the image itself, its edges and a blob at its centre, as if they were maps"
    )


def localisation_columns(protocol: StudyProtocol) -> list[tuple[str, str]]:
    """Case-table columns with lesions and maps, each with the key that names it."""
    block = protocol.analyses.interpretability
    if block is None or block.localisation is None:
        return []
    asked = block.localisation
    columns = (asked.reference, asked.maps)
    return [(c, where) for c, where in zip(columns, LOCALISATION_COLUMNS, strict=True) if c is not None]


def localisation_problems(protocol: StudyProtocol) -> Iterator[Problem]:
    """Every contradiction in `analyses.interpretability.localisation`."""
    block = protocol.analyses.interpretability
    if block is None or block.localisation is None:
        return
    path = _PATH
    asked = block.localisation
    taken = {protocol.unit.case, protocol.unit.cluster, "image"}
    for key, column in (("reference", asked.reference), ("maps", asked.maps)):
        if column in taken:
            what = f"column '{column}' already means something else"
            yield Problem(what, f"{path}.{key}", "name the column with the files")
    if asked.maps is None and not block.methods:
        hint = "name methods, or the column with maps made elsewhere"
        yield Problem("there are no maps to set beside lesions", path, hint)
    if asked.maps == asked.reference:
        yield Problem("maps and lesions are two columns", f"{path}.maps")
    if asked.salient != "value" and asked.threshold >= 1.0:
        yield Problem("a share lies below 1", f"{path}.threshold", "0.05 is the brightest twentieth")
