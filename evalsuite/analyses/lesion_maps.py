"""Where maps come from that are set beside lesions: files of the case table, or what the run itself stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalsuite.analyses.localisation import ReadMaps
from evalsuite.errors import ImageError
from evalsuite.imaging import nifti, raster, read_files
from evalsuite.inference.attribution_store import FOLDER, read_index, read_map
from evalsuite.inference.hooks import bind_inputs
from evalsuite.models.placing import restore
from evalsuite.models.preprocess import prepare_image
from evalsuite.protocol.interpretability import TRIVIAL_PREFIX
from evalsuite.protocol.localisation import Localisation
from evalsuite.stats.faithfulness import trivial_maps
from evalsuite.testset.reference_files import ReferenceFiles

if TYPE_CHECKING:
    from evalsuite.models.contract import Contract
    from evalsuite.testset.types import LockedTestSet

#: What maps from files are called.
GIVEN = "given"


def given_maps(
    asked: Localisation, case_id: Sequence[str], frame: pd.DataFrame, files: ReferenceFiles, images: ReadMaps
) -> ReadMaps:
    """Maps from the column of files, with trivial maps of each image beside them.

    `images` gives a case's image as {"image": (channel, *spatial)}, nothing where there is none: then the blob at the
    centre stands alone.
    """
    cells = dict(zip(case_id, (str(c) for c in frame[str(asked.maps)]), strict=True))

    def read(case: str) -> Mapping[str, NDArray[np.generic]]:
        data = files.read(cells[case]) if cells[case].strip() else None
        if data is None:
            return {}
        name = f"the map of case {case}"
        array = (nifti.decode(data, name=name) if nifti.is_nifti(data) else raster.decode(data, name=name)).array
        if array.shape[0] != 1:
            raise ImageError(f"{name} has {array.shape[0]} channels; a map has one value per pixel", code="not_map")
        found: dict[str, NDArray[np.generic]] = {GIVEN: array[0]}
        if asked.baselines:
            image = images(case).get("image")
            fits = image is not None and image.shape[1:] == array.shape[1:]
            trivial = trivial_maps(image if fits and image is not None else np.zeros(array.shape))
            found |= {TRIVIAL_PREFIX + k: v for k, v in trivial.items() if fits or k == "centre"}
        return found

    return read


def images_of(testset: LockedTestSet) -> ReadMaps:
    """A case's image as stored, where the set has one that can be read."""
    from evalsuite.imaging.image import Spec

    cases = {c.case_id: c for c in testset.cases}

    def read(case: str) -> Mapping[str, NDArray[np.generic]]:
        paths = next(iter(cases[case].images.values()), ())
        if not paths:
            return {}
        return {"image": read_files(paths, spec=Spec(), name=f"the image of case {case}").array}

    return read


def stored_maps(arrays: Path, testset: LockedTestSet, contract: Contract, *, baselines: bool) -> ReadMaps:
    """The maps a run stored, brought from the model's grid back to that of the image as stored (nearest pixel)."""
    index = read_index(arrays)
    places: dict[str, dict[str, str]] = {}
    if index is not None:
        for case, label, file in zip(index["case_id"], index["method"], index["file"], strict=True):
            if baselines or not str(label).startswith(TRIVIAL_PREFIX):
                places.setdefault(str(case), {})[str(label)] = str(file)
    cases = {c.case_id: c for c in testset.cases}
    binding = bind_inputs(contract, testset.cases) if places else {}
    spec = contract.inputs[0]

    def read(case: str) -> Mapping[str, NDArray[np.generic]]:
        if case not in places:
            return {}
        paths = cases[case].images.get(binding[spec.name], ())
        placement = prepare_image(read_files(paths, spec=spec, name=f"the image of case {case}"), spec).placement
        found = {label: read_map(arrays / FOLDER / file) for label, file in places[case].items()}
        return {label: restore(map_, placement) for label, map_ in found.items() if map_.shape == placement.final}

    return read
