"""Slices in order, and what is wrong with a folder of them."""

from __future__ import annotations

import random
from dataclasses import replace

from evalsuite.imaging.series import Slice, examine_series

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def slices(positions, **more):
    base = {
        "series_uid": "1.2",
        "number": None,
        "rows": 8,
        "columns": 8,
        "n_frames": 1,
        "orientation": AXIAL,
        "modality": "CT",
        "volume": ("",),
    }
    return [
        Slice(name=f"{i}.dcm", sop_uid=f"1.2.{i}", position=(0.0, 0.0, z), **{**base, **more})
        for i, z in enumerate(positions)
    ]


def test_slices_are_ordered_by_position_not_by_name():
    made = slices([6.0, 0.0, 3.0])
    found = examine_series(made)
    assert found.order == ("1.dcm", "2.dcm", "0.dcm")
    assert found.distance_mm == 3.0
    assert found.findings == ()


def test_order_does_not_depend_on_the_order_of_files():
    made = slices([float(z) for z in range(30)])
    shuffled = random.Random(1).sample(made, len(made))
    assert examine_series(shuffled).order == examine_series(made).order


def test_oblique_slices_are_ordered_along_their_normal():
    tilted = (1.0, 0.0, 0.0, 0.0, 0.6, -0.8)
    made = [
        replace(s, orientation=tilted, position=(0.0, 0.8 * z, 0.6 * z))
        for s, z in zip(slices([0] * 3), (4, 2, 0), strict=True)
    ]
    found = examine_series(made)
    assert found.order == ("2.dcm", "1.dcm", "0.dcm")
    assert found.distance_mm == 2.0


def test_gaps_and_missing_slices_are_counted():
    found = examine_series(slices([0, 1, 2, 5, 6, 7, 9]))
    assert found.findings == ("2 gaps: 3 slices missing by the usual distance",)


def test_doubles_and_several_volumes():
    assert examine_series(slices([0, 1, 1, 2])).findings == ("1 slice at a position that occurs before",)
    two = [replace(s, volume=(str(i % 2),)) for i, s in enumerate(slices([0, 0, 1, 1]))]
    assert "2 acquisitions, echoes or time points" in examine_series(two).findings[0]


def test_strangers_are_named_by_kind():
    made = slices([0, 1, 2])
    made[1] = replace(
        made[1], series_uid="9", modality="MR", rows=16, sop_uid="1.2.0", orientation=AXIAL[3:] + AXIAL[:3]
    )
    found = examine_series(made, n_other=2)
    assert found.findings == (
        "2 files in the folder are no readable DICOM",
        "2 different series in one folder",
        "2 different modalities in one folder",
        "2 different image sizes in one folder",
        "1 slice with a SOP instance UID that occurs before",
        "1 slice with another orientation than the first",
    )


def test_without_positions_the_numbers_decide_and_it_is_said():
    made = [replace(s, position=(), number=n) for s, n in zip(slices([0, 0, 0]), (3, 1, 2), strict=True)]
    found = examine_series(made)
    assert found.order == ("1.dcm", "2.dcm", "0.dcm")
    assert "gaps cannot be seen" in found.notes[0]
    missing = [replace(s, position=(), number=n) for s, n in zip(slices([0, 0, 0]), (1, 2, 4), strict=True)]
    assert examine_series(missing).findings == ("1 instance number missing in the sequence",)


def test_an_empty_folder_and_a_single_slice():
    assert examine_series([]).order == ()
    assert examine_series(slices([5])).findings == ()
