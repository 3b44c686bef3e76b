"""The model on images whose suspected region was taken out or put in, and on images treated so at another place.

Cases are shown again by the mechanism of degraded images (`evalsuite.inference.perturbed`). A case without the region,
or with the thing to be inserted already there, is read and not given to the model: its row says why it has no answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ContractError, ImageError, InputError
from evalsuite.imaging import Image, regions
from evalsuite.imaging.burned_in import text_mask
from evalsuite.imaging.degrade import scene_of
from evalsuite.imaging.image import Spec
from evalsuite.imaging.likeness import grey8
from evalsuite.inference.engine import predict
from evalsuite.inference.hooks import bind_inputs, default_hooks
from evalsuite.inference.perturbed import as_condition, changed_images, sampled, with_conditions
from evalsuite.inference.predictions import Predictions
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.folder_model import FolderModel
from evalsuite.protocol.shortcuts import ALREADY_THERE, NO_REGION, NO_ROOM, Region, Shortcut
from evalsuite.record.digest import digest_json

if TYPE_CHECKING:
    from evalsuite.testset.types import Case, LockedTestSet

#: Changes when a changed image comes out differently: part of the name of every stored answer.
VERSION = "1"
_UNCHANGED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A case with a shortcut's region changed, or (`control`) with another place treated so."""

    case: Case
    asked: Shortcut
    control: bool

    @property
    def condition(self) -> str:
        return self.asked.control if self.control else self.asked.condition

    def name(self, seed: int) -> str:
        """With a digest of all that decides the image; margins and names of endpoints do not."""
        what = {
            "shortcuts": VERSION,
            "seed": seed,
            "control": self.control,
            **self.asked.model_dump(mode="json", include={"region", "change", "fill", "insert", "unless"}),
        }
        return f"{self.case.case_id}#{self.condition}#{digest_json(what)[:16]}"


def require_changeable(asked: Sequence[Shortcut], model: Any) -> None:
    """ContractError or InputError where the images of a package cannot be changed before it sees them.

    Recorded predictions must have rows of every condition.
    """
    if not asked:
        return
    if model.format == "recorded":
        table = model.table
        found = set() if "condition" not in table.columns else {str(c) for c in table["condition"].dropna()}
        missing = [c for s in asked for c in (s.condition, s.control) if c not in found]
        if missing:
            raise InputError(
                f"The recorded predictions have no rows of {len(missing)} conditions that the shortcut tests ask for: "
                f"{', '.join(missing[:8])}{', …' if len(missing) > 8 else ''}.",
                hint="Record the device's answers on the changed images with these names in the column condition, or "
                "run the package itself.",
            )
    elif isinstance(model, FolderModel):
        raise ContractError(
            f"{model.name} reads the image files itself, so that they cannot be changed on the way",
            hint="Remove analyses.interpretability.shortcuts, or record its answers on changed images.",
        )
    elif model.contract.tiled is not None:
        raise ContractError(
            "a slide is read tile by tile, and tiles are not changed by this version",
            hint="Remove analyses.interpretability.shortcuts.",
        )


def predict_shortcuts(
    model: Any,
    testset: LockedTestSet,
    asked: Sequence[Shortcut],
    clean: Predictions,
    *,
    settings: InferenceSettings,
    work: Path,
    seed: int,
    limit: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    required: Sequence[str] | None = None,
) -> Predictions:
    """`clean` with the answers to every shortcut's changed images and controls; `record` gains `shortcuts`.

    The answers of recorded predictions are there already.

    Raises
    ------
    As `engine.predict`.
    """
    if model.format == "recorded" or not asked:
        return clean
    drawn = {s.name: sampled(testset.cases[:limit], s, seed, purpose=f"shortcut {s.name}") for s in asked}
    every = [
        _Shown(case=case, asked=s, control=control)
        for s in asked
        for case in drawn[s.name]
        for control in (False, True)
    ]
    shown = {s.name(seed): s for s in every}
    # Where no image has the region, some cases as they are keep the engine from taking the model for broken.
    beside = testset.cases[:limit][:_UNCHANGED]
    unchanged = {f"{c.case_id}#as it is": c for c in beside}
    originals = {name: s.case for name, s in shown.items()} | unchanged
    pseudo = tuple(replace(case, case_id=name) for name, case in originals.items())

    def changed(image: Image, name: str) -> Image:
        s = shown.get(name)
        return image if s is None else changed_image(image, s.asked, control=s.control, seed=seed, case=s.case)

    binding = bind_inputs(model.contract, testset.cases[:limit])
    hooks = default_hooks(model, binding, image_of=changed_images(originals, changed))
    made = predict(
        model,
        replace(testset, cases=pseudo),
        settings=replace(settings, repeat=False),
        # What the cache knows a file by says nothing of what is done to its image.
        hooks=replace(hooks, decoding=None),
        work=work,
        on_case=on_case,
        should_stop=should_stop,
        required=required,
    )
    rows = made.table.iloc[: len(shown)]
    rows = as_condition(rows, [s.case.case_id for s in shown.values()], [s.condition for s in shown.values()])
    facts = {
        "version": VERSION,
        "n_cases": {name: len(cases) for name, cases in drawn.items()},
        "wall_s": made.record["inference"]["wall_s"],
        "failed_by_reason": made.record["inference"]["failed_by_reason"],
    }
    return with_conditions(clean, [rows], {**clean.record, "shortcuts": facts})


def changed_image(image: Image, asked: Shortcut, *, control: bool, seed: int, case: Case) -> Image:
    """The image with the region taken out or put in; `control`: with another place of equal size treated so.

    Raises
    ------
    ImageError
        With a reason of `evalsuite.protocol.shortcuts` where there is nothing to change, and its own where the image
        is of a kind that cannot be changed so.
    """
    rng = np.random.default_rng(_entropy(seed, case.case_id, asked.name))
    scene = scene_of(image, rng)
    array = image.array.astype(np.float64)
    if asked.unless == "text" and _text(image).any():
        raise ImageError("there is text already", code=ALREADY_THERE)
    mask = region_of(image, asked.region, case)
    if not mask.any():
        raise ImageError("the image has no such region", code=NO_REGION)
    where = regions.elsewhere(mask, rng, same_shape=asked.insert is not None) if control else mask
    if where is None:
        raise ImageError("the image has no room for the region elsewhere", code=NO_ROOM)
    if asked.insert is None:
        made = regions.filled(array, where, asked.fill)
    else:
        patch = _patch(asked, mask)
        patch = regions.scrambled(patch, rng) if control else patch
        made = regions.pasted(array, where, patch, black=scene.base, span=scene.span)
    return replace(image, array=scene.as_stored(made, image.array.dtype))


def _patch(asked: Shortcut, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    height, width = int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum())
    assert asked.insert is not None
    if asked.insert.text is not None:
        return regions.drawn_text(asked.insert.text, height, width)
    return regions.picture(asked.insert.png, height, width)


def region_of(image: Image, region: Region, case: Case) -> NDArray[np.bool_]:
    """Where the region lies, (*spatial) bool; all False where the image has none.

    Raises
    ------
    ImageError
        If the region is one of plane images and this is none, or its mask is of another size.
    """
    shape = image.array.shape[1:]
    if region.text:
        return _text(image)
    if region.border is not None:
        return regions.border(shape, region.border)
    if region.corner is not None:
        height, width = region.corner.height, region.corner.width
        top = 0.0 if region.corner.at.startswith("top") else 1.0 - height
        left = 0.0 if region.corner.at.endswith("left") else 1.0 - width
        return regions.rectangle(shape, top=top, left=left, bottom=top + height, right=left + width)
    if region.box is not None:
        return regions.rectangle(shape, **region.box.model_dump())
    return _from_file(case, str(region.mask), shape)


def _text(image: Image) -> NDArray[np.bool_]:
    if image.array.ndim != 3:
        raise ImageError("text is searched in plane images", code=regions.NOT_PLANE)
    plane = np.moveaxis(image.array, 0, -1)
    return text_mask(grey8(plane[..., 0] if plane.shape[-1] == 1 else plane))


def _from_file(case: Case, column: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    from evalsuite.imaging import read_files

    paths: Sequence[Path] = case.images.get(column, ())
    if not paths:
        return np.zeros(shape, dtype=bool)
    layout: Any = "volume" if len(shape) == 3 else "one"
    mask = read_files(paths, spec=Spec(layout=layout), name=f"case {case.case_id}, column {column},").array
    found: NDArray[np.bool_] = np.asarray(mask, dtype=np.float64).max(axis=0) > 0.0
    if found.shape != shape:
        raise ImageError("the mask of the region is of another size than the image", code=regions.OTHER_SIZE)
    return found


def _entropy(seed: int, case_id: str, name: str) -> list[int]:
    text = hashlib.sha256(f"{seed}\nshortcut\n{name}\n{case_id}".encode()).digest()
    return [int.from_bytes(text[i : i + 4], "little") for i in range(0, 16, 4)]
