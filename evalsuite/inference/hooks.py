"""How a case becomes the model's input: which image columns are read, and how they are prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import ContractError, ImageError, Problem

if TYPE_CHECKING:
    import torch

    from evalsuite.imaging import Image
    from evalsuite.inference.slides import TiledCase
    from evalsuite.models.placing import Placement
    from evalsuite.testset.types import Case


class CaseInputs(dict[str, np.ndarray]):
    """A decoded case: input name → (channel, *spatial); `placements` says per input what was done to its image, so that
    a mask can come back to the stored one, and `notes` what was peculiar while reading."""

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        placements: Mapping[str, Placement] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(arrays)
        self.placements: Mapping[str, Placement] = placements or {}
        self.notes = notes

    def beside(self) -> dict[str, Any]:
        """What is not an array, as plain JSON values."""
        return {"placements": {n: p.to_json() for n, p in self.placements.items()}, "notes": list(self.notes)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], beside: Mapping[str, Any]) -> CaseInputs:
        """The reverse of `beside`. Raises KeyError, TypeError or ValueError where it is not what it should be."""
        from evalsuite.models.placing import Placement

        placements = {str(n): Placement.from_json(p) for n, p in beside["placements"].items()}
        return cls(arrays, placements, tuple(map(str, beside["notes"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The two halves of preparing an input, split where the data goes to the device.

    `read` decodes a case on the host and keeps integers (name → (channel, *spatial)); `normalise` turns a batch of one
    input, already on the device, into what the model's network expects. `ahead` is told of cases some batches before
    they are read. `decoding` names everything that decides what `read` gives for a file, so that it can be cached; None
    where that is not known. `as_contract` says that `normalise` is the contract's own, so that a model in another
    process can do it there.
    """

    read: Callable[[Case], Mapping[str, np.ndarray]]
    normalise: Callable[[str, torch.Tensor], torch.Tensor]
    ahead: Callable[[Sequence[Case]], None] | None = None
    decoding: Mapping[str, Any] | None = None
    as_contract: bool = False
    tiles: Callable[[Case], TiledCase] | None = None


def bind_inputs(contract: Any, cases: Sequence[Case]) -> dict[str, str]:
    """Input name → image column of the case table.

    A model with one input takes the only image column, whatever the two are called.

    Raises
    ------
    ContractError
        If the set has no images, an input has no column of its name and may not be missing, or the contract of a volume
        does not say how it lies in the patient.
    """
    columns = list(dict.fromkeys(column for case in cases for column in case.images))
    names = [spec.name for spec in contract.inputs]
    unplaced = [f"inputs[{i}].{key}" for i, spec in enumerate(contract.inputs) for key in spec.places]
    if unplaced:
        raise ContractError(
            "the model takes volumes, and its contract does not say how they lie in the patient: a volume stored "
            "another way round would be used without anybody noticing",
            problems=[Problem(what="required for volumes", where=where) for where in unplaced],
            hint="Write into the contract, for instance, orientation: RAS and spacing_mm: [1, 1, 1]; "
            "any (for either) takes what the file states as it comes.",
        )
    if not columns:
        raise ContractError(
            f"the model reads images (inputs {', '.join(names)}), but the test set has no image column",
            hint="Lock a case table with an image column, or evaluate recorded predictions.",
        )
    if len(names) == 1 and len(columns) == 1:
        return {names[0]: columns[0]}
    optional = {spec.name for spec in contract.inputs if spec.missing_value is not None}
    missing = [name for name in names if name not in columns and name not in optional]
    if missing or not any(name in columns for name in names):
        raise ContractError(
            f"the model expects the inputs {', '.join(names)}; the test set has the image columns {', '.join(columns)}",
            hint=f"Name the image columns after the inputs; without a column: {', '.join(missing or names)}.",
        )
    return {name: name for name in names}


def default_hooks(
    model: Any, binding: Mapping[str, str], *, image_of: Callable[[Case, str, Any, Any], Image] | None = None
) -> Hooks:
    """Hooks that read with `evalsuite.imaging` and prepare as the model's contract says.

    `image_of(case, column, paths, spec)` gives the decoded image in another way (one made worse on purpose); whoever
    passes it must see to it that `decoding` does not let the result be taken for the file's own image.
    """
    from evalsuite.imaging import read_files
    from evalsuite.inference.readahead import read_ahead
    from evalsuite.models.preprocess import normalise, prepare_image, stand_in

    specs = {spec.name: spec for spec in model.contract.inputs}
    drawn_on = {model.contract.grid_of(output).name for output in model.contract.masks}
    tiled = model.contract.tiled
    if tiled is not None:
        from evalsuite.inference.slides import first_tile, tiles_of

        tiles = tiles_of(binding[tiled.name], tiled)
        return Hooks(
            read=first_tile(tiles),
            normalise=lambda name, tensor: normalise(tensor, specs[name]),
            as_contract=True,
            tiles=tiles,
        )

    def read(case: Case) -> CaseInputs:
        found: dict[str, np.ndarray] = {}
        placements: dict[str, Placement] = {}
        notes: list[str] = []
        for name, column in binding.items():
            paths, spec = case.images.get(column, ()), specs[name]
            if not paths and spec.missing_value is not None and name not in drawn_on:
                found[name] = stand_in(spec)
                notes.append(f"{name}: absent, replaced by an image of one value")
                continue
            if image_of is None:
                image = read_files(paths, spec=spec, name=f"case {case.case_id}, column {column},")
            else:
                image = image_of(case, column, paths, spec)
            prepared = prepare_image(image, spec)
            found[name], placements[name] = prepared.array, prepared.placement
            notes += [f"{name}: {text}" for text in (*image.notes, *prepared.placement.done)]
        if not placements:
            raise ImageError(f"case {case.case_id} has no image at all", code="no image")
        return CaseInputs(found, placements, tuple(notes))

    decoding = {"binding": dict(binding), "inputs": {n: spec.model_dump(mode="json") for n, spec in specs.items()}}
    return Hooks(
        read=read,
        normalise=lambda name, tensor: normalise(tensor, specs[name]),
        ahead=read_ahead,
        decoding=decoding,
        as_contract=True,
    )
