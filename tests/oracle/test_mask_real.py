"""Prostate lesions by experts and by a program: grids and Dice as nibabel and numpy have them, on real files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from evalsuite.imaging.mask_file import decode_mask, grid_difference
from evalsuite.stats import overlap
from evalsuite.stats.masks import mask_pair

#: One of them has masks of 320 and 640 columns, two lie a little apart.
CASES = ("10005_1000005", "10012_1000012", "10268_1000272", "10408_1000415", "10577_1000590")
OTHER_SHAPE = "10408_1000415"


def test_masks_of_real_studies(shared_real: Path) -> None:
    folder = shared_real / "picai_masks"
    compared = 0
    for case in CASES:
        files = [folder / reader / f"{case}.nii.gz" for reader in ("expert", "ai")]
        (a, first), (b, second) = (decode_mask(f.read_bytes(), name=f.name) for f in files)
        theirs = [nibabel.load(f) for f in files]
        for ours, labels, image in ((first, a, theirs[0]), (second, b, theirs[1])):
            np.testing.assert_array_equal(labels, np.asarray(image.dataobj))
            np.testing.assert_allclose(np.asarray(ours.affine), image.affine, atol=1e-4)
        difference = grid_difference(first, second)
        if case == OTHER_SHAPE:
            assert difference == "shape"
            continue
        if difference is not None:
            assert difference == "origin or direction"
            continue
        x, y = (np.asarray(image.dataobj) > 0 for image in theirs)
        assert first.spacing_mm is not None
        ours_dice = overlap.dice(mask_pair(a != 0, b != 0, first.spacing_mm)).value
        assert ours_dice == pytest.approx(2.0 * (x & y).sum() / (x.sum() + y.sum()))
        compared += 1
    assert compared >= 2
