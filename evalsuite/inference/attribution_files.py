"""Maps of a program that reads image files itself: changed images are written as files of the same kind.

Nothing is taken on trust. Each case is first shown twice, as its own file and as that file written anew with the same
values; a case whose two answers differ is left out, with the reason, because the changes would not be
all that changes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalsuite.errors import ImageError
from evalsuite.imaging import Image, read_files
from evalsuite.imaging.rewrite import write_like
from evalsuite.inference.folders import CASES_PER_CALL, call_on
from evalsuite.inference.hooks import Hooks
from evalsuite.inference.wanted import wanted
from evalsuite.models.preprocess import prepare_image

if TYPE_CHECKING:
    import torch

    from evalsuite.attribution.job import Attributed, Job
    from evalsuite.models.contract import Contract
    from evalsuite.models.folder_model import FolderModel
    from evalsuite.testset.types import Case

#: Answers to an image's own file and to the file written anew are equal up to this, as programs repeat themselves.
SAME = 1e-6
OTHERWISE = "answered otherwise where its file was written anew with the same values"
ON_THE_WAY = "its contract turns or resizes the image, so that a map would not lie on the file's own pixels"
_MOST_BYTES = 2**30
_ROW = "case"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswers:
    """A folder model in the place of a network: takes changed images as arrays, and shows them to it as files.

    `column` is the image column that maps are of; other images of a case are given as they are.
    """

    program: FolderModel
    binding: Mapping[str, str]
    column: str
    cases: tuple[Case, ...]
    per_call: int
    unanswered: list[int] = field(default_factory=list)
    device: str = "cpu"
    network: None = None

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def digest(self) -> str:
        return self.program.digest

    @property
    def contract(self) -> Contract:
        return self.program.contract

    @property
    def contract_digest(self) -> str:
        return self.program.contract_digest

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the record must know."""
        said: tuple[str, ...] = (
            "changed images were written as files of the same kind and the program was run on them; each case's own "
            "file, written anew with the same values, had the same answer. Values are those that the file stores: a "
            "baseline of 0 is a stored 0",
        )
        if self.unanswered:
            said += (f"{len(self.unanswered)} changed images had no answer; maps that need them are empty",)
        return said

    def to(self, device: str) -> FileAnswers:
        """Itself: the program chooses where it computes."""
        return self

    def with_threads(self, threads: int) -> FileAnswers:
        """Itself: the program chooses how many threads it has."""
        return self

    def attribute_stored(
        self,
        inputs: Mapping[str, np.ndarray],
        job: Job,
        *,
        n_passes: int,
        should_stop: Callable[[], bool] | None = None,
    ) -> Attributed:
        """Maps of cases that `hooks.read` gave; as a model in the sandbox is asked, but in this process.

        Raises Interrupted where `should_stop` says so before a call of the program.
        """
        import torch

        from evalsuite.attribution.run import attribute

        image = torch.from_numpy(inputs[self.contract.inputs[0].name].astype(np.float32))
        return attribute(wanted(self, should_stop), [image, torch.from_numpy(inputs[_ROW])], job)

    def raw(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """The program's numbers for changed images (n, channel, *spatial) of the cases whose numbers (n, 1) follow."""
        import torch

        images, rows = inputs[0].numpy(), inputs[1][:, 0].tolist()
        columns, reasons = self.ask([self.cases[r] for r in rows], list(images))
        self.unanswered.extend(r for r, why in zip(rows, reasons, strict=True) if why is not None)
        return [
            torch.from_numpy(np.stack([columns[c] for c in spec.columns], axis=1)) for spec in self.contract.outputs
        ]

    def ask(
        self, cases: Sequence[Case], images: Sequence[np.ndarray | None]
    ) -> tuple[Mapping[str, np.ndarray], tuple[str | None, ...]]:
        """One call on these cases, each with its own file (None) or with these values in it."""
        with tempfile.TemporaryDirectory(prefix="evalsuite-changed-") as scratch:
            shown, own = [], {}
            for k, (case, values) in enumerate(zip(cases, images, strict=True)):
                if values is not None:
                    folder = Path(scratch) / f"{k:06d}"
                    folder.mkdir()
                    (source,) = case.images[self.column]
                    if case.case_id not in own:
                        own[case.case_id] = self.read(case)
                    path = write_like(source, own[case.case_id], values, folder)
                    case = replace(case, images={**case.images, self.column: (path,)})
                shown.append(case)
            shard = call_on(self.program, shown, self.binding)
        return shard.outputs, shard.reasons

    def read(self, case: Case) -> Image:
        """The case's own image as stored."""
        return read_files(case.images[self.column], spec=self.contract.inputs[0], name=f"case {case.case_id}")


def answers_by_files(
    program: FolderModel, cases: Sequence[Case], binding: Mapping[str, str], hooks: Hooks
) -> tuple[FileAnswers, Hooks]:
    """The program as something that answers changed images of these cases, and hooks that read them.

    `hooks.read` raises ImageError, with the reason as its code, for cases that cannot be shown changed.
    """
    first = program.contract.inputs[0]
    size = program.contract.cases_per_call or CASES_PER_CALL
    found = FileAnswers(program=program, binding=binding, column=binding[first.name], cases=tuple(cases), per_call=size)
    why: dict[str, str] = {}
    largest = 1
    able = []
    for case in cases:
        try:
            image = _image_of(found, case)
            largest = max(largest, image.array.size * 4)
            able.append(case)
        except ImageError as error:
            why[case.case_id] = error.code or "unreadable"
    found = replace(found, per_call=max(1, min(size, _MOST_BYTES // largest)))
    for start in range(0, len(able), found.per_call):
        why |= _differing(found, able[start : start + found.per_call])
    places = {case.case_id: k for k, case in enumerate(found.cases)}

    def read(case: Case) -> Mapping[str, np.ndarray]:
        if case.case_id in why:
            raise ImageError(f"case {case.case_id} cannot be shown changed", code=why[case.case_id])
        return {first.name: found.read(case).array, _ROW: np.array([places[case.case_id]])}

    return found, replace(hooks, read=read, ahead=None, decoding=None, as_contract=False)


def _image_of(found: FileAnswers, case: Case) -> Image:
    """The case's image, where its file can be written anew and lies on the contract's own grid."""
    files = case.images.get(found.column, ())
    if len(files) != 1:
        raise ImageError(
            f"case {case.case_id} has {len(files)} files", code="no image" if not files else "several files"
        )
    image = found.read(case)
    prepared = prepare_image(image, found.contract.inputs[0])
    if prepared.placement.done or prepared.array.shape[1:] != image.array.shape[1:]:
        raise ImageError(f"case {case.case_id} is changed on the way", code=ON_THE_WAY)
    with tempfile.TemporaryDirectory(prefix="evalsuite-changed-") as scratch:
        path = write_like(files[0], image, image.array, Path(scratch))
        again = read_files([path], spec=found.contract.inputs[0], name=f"case {case.case_id} written anew")
    if again.array.shape != image.array.shape or not np.array_equal(again.array, image.array):
        raise ImageError(f"case {case.case_id} is not the same written anew", code="rewrite")
    return image


def _differing(found: FileAnswers, cases: Sequence[Case]) -> dict[str, str]:
    """Cases whose own file has another answer, or none, than the file written anew; case id → reason."""
    outputs, reasons = found.ask(cases, [None] * len(cases))
    of_new, reasons_of_new = found.ask(cases, [found.read(case).array for case in cases])
    why = {}
    for k, case in enumerate(cases):
        own, anew = (np.array([found_of[c][k] for c in outputs]) for found_of in (outputs, of_new))
        said = reasons[k]
        if said is not None:
            why[case.case_id] = said
        elif reasons_of_new[k] is not None or not np.allclose(own, anew, rtol=0.0, atol=SAME):
            why[case.case_id] = OTHERWISE
    return why
