"""Maps beside lesions: hits, overlaps and chance worked out by hand, from files and from what a run stored."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from evalsuite.analyses.lesion_boxes import box_mask
from evalsuite.analyses.lesion_maps import given_maps
from evalsuite.analyses.localisation import localisation_figures, salient_from
from evalsuite.errors import ImageError, InputError
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.points import Lie
from evalsuite.protocol.checks import check_protocol
from evalsuite.protocol.localisation import Localisation
from evalsuite.protocol.schema import StudyProtocol
from tests.unit.analyses.test_beside_performance import SENSITIVITY, goal, protocol

N = 12


def asking(**more: object) -> StudyProtocol:
    block = {"reference": "lesion", "maps": "map", "salient": "value", "threshold": 100.0, "baselines": False, **more}
    return protocol(goal(SENSITIVITY, 0.7), analyses={"interpretability": {"localisation": block, "groups": []}})


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Picture.fromarray(array.astype(np.uint8)).save(out, format="PNG")
    return out.getvalue()


class Files:
    """The files of a locked set, in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, cell: str) -> bytes | None:
        return self.files.get(cell)


def made(n: int = N, hits: int = 6):
    """Lesions of 4 × 5 of 10 × 20 pixels; the first maps lie half on theirs, those of the others nowhere."""
    files: dict[str, bytes] = {}
    for i in range(n):
        lesion = np.zeros((10, 20))
        lesion[2:6, 5:10] = 255
        map_ = np.full((10, 20), 3)
        top = 2 if i < hits else 7
        map_[top : top + 2, 5:10] = 120
        map_[top, 5] = 200
        files |= {f"l{i}.png": png(lesion), f"m{i}.png": png(map_)}
    frame = pd.DataFrame(
        {
            "truth": ["1"] * n,
            "site": ["a"] * n,
            "lesion": [f"l{i}.png" for i in range(n)],
            "map": [f"m{i}.png" for i in range(n)],
        }
    )
    return frame, Files(files)


def lie(case: str, axes: int) -> Lie:
    return Lie(grid=Grid(shape=(10, 20), spacing_mm=(2.0, 0.5)), columns_first=False)


def figures(p: StudyProtocol, frame: pd.DataFrame, files, images=lambda case: {}):
    n = len(frame)
    cases = {"case_id": tuple(f"c{i}" for i in range(n)), "patient_id": tuple(f"p{i}" for i in range(n))}
    asked = p.analyses.interpretability.localisation
    read = given_maps(asked, cases["case_id"], frame, files, images)
    return localisation_figures(p, **cases, frame=frame, files=files, read_maps=read, lies=lie)


def one(results, metric: str, endpoint: str = "given"):
    (hit,) = [
        f.estimate for f in results.findings
        if (f.endpoint, f.metric, dict(f.stratum)) == (endpoint, f"localisation_{metric}", {})
    ]  # fmt: skip
    return hit


def test_hits_overlaps_and_chance_are_those_counted_by_hand():
    results = figures(asking(), *made())
    rate = one(results, "hit_rate")
    assert (rate.numerator, rate.denominator) == (6, N)
    assert one(results, "iou").value == pytest.approx(0.5 * 10 / 20)
    assert one(results, "iou_true_positive").value == pytest.approx(10 / 20)
    assert one(results, "chance").value == pytest.approx(20 / 200)
    assert results.notes == (f"Maps beside lesions: {N} of {N} cases have a lesion and a map.",)


def test_cases_without_a_lesion_or_a_map_are_left_out_and_counted():
    frame, files = made()
    frame.loc[0, "lesion"] = ""
    frame.loc[1, "map"] = ""
    files.files["l2.png"] = png(np.zeros((10, 20)))
    results = figures(asking(), frame, files)
    assert one(results, "hit_rate").denominator == N - 3
    assert f"{N - 3} of {N} cases" in results.notes[0]


def boxed(table: str):
    """The same lesions, 4 × 5 of 10 × 20 pixels, as boxes: rows 2 mm apart, columns 0.5 mm."""
    frame, files = made()
    frame["lesion"] = "boxes.csv"
    files.files["boxes.csv"] = table.encode()
    return frame, files


BOX = "2.4,3.5,4.6,10.5"  # columns 5 to 9 at 2.5 to 4.5 mm, rows 2 to 5 at 4 to 10 mm


def test_boxes_give_the_figures_of_the_masks_they_outline():
    table = "case_id,x0,y0,x1,y1\n" + "".join(f"c{i},{BOX}\n" for i in range(N))
    assert figures(asking(), *boxed(table)) == figures(asking(), *made())
    halves = "".join(f"c{i},2.4,3.5,4.6,6.5\nc{i},2.4,6.5,4.6,10.5\n" for i in range(N))
    assert figures(asking(), *boxed(f"case_id,x0,y0,x1,y1\n{halves}")) == figures(asking(), *made())


def test_cases_without_a_box_are_left_out_and_counted():
    results = figures(asking(), *boxed("case_id,x0,y0,x1,y1\n" + "".join(f"c{i},{BOX}\n" for i in range(2, N))))
    assert (one(results, "hit_rate").numerator, one(results, "hit_rate").denominator) == (4, N - 2)
    assert f"{N - 2} of {N} cases" in results.notes[0]


@pytest.mark.parametrize(
    ("table", "where", "said"),
    [
        ("case_id,x0,y0,x1,y1\nc3,2.6,3.5,2.9,10.5\n", "case c3", "box 1 of 1 holds no pixel of the image"),
        ("case_id,x0,y0,x1,y1\nc3,20,3.5,30,10.5\n", "case c3", "box 1 of 1 holds no pixel of the image"),
        (
            "case_id,x0,y0,z0,x1,y1,z1\nc3,1,1,1,2,2,2\n",
            "case c3",
            "the image has no place in coordinates 'image' of 3",
        ),
        ("case_id,x,y\nc3,1,1\n", "boxes.csv", "the lesions are points"),
        ("case_id,x0,y0,x1,y1\nc3,4.6,3.5,2.4,10.5\n", "boxes.csv", "its corners are exchanged"),
        ("x0,y0,x1,y1\n1,1,2,2\n", "boxes.csv", "no column 'case_id'"),
    ],
)
def test_boxes_that_cannot_be_used_are_named(table, where, said):
    with pytest.raises(InputError) as refused:
        figures(asking(), *boxed(table))
    (problem,) = refused.value.problems
    assert (problem.where or "").startswith(where)
    assert said in problem.what


def test_a_box_in_the_patient_lies_where_the_affine_says():
    affine = ((0.0, 0.0, 2.0, 5.0), (-1.0, 0.0, 0.0, 40.0), (0.0, 3.0, 0.0, -6.0), (0.0, 0.0, 0.0, 1.0))
    volume = Lie(grid=Grid(shape=(8, 6, 10), spacing_mm=(1.0, 3.0, 2.0), affine=affine), columns_first=True)
    mask = np.zeros((8, 6, 10), dtype=bool)
    mask[2:4, 1:3, 4:7] = True
    # RAS: x of 13 to 17, y of 38 and 37, z of -3 and 0 mm; LPS turns x and y round
    assert (box_mask(np.array([[12.5, 36.5, -3.5, 17.5, 38.5, 0.5]]), volume, "ras") == mask).all()
    assert (box_mask(np.array([[-17.5, -38.5, -3.5, -12.5, -36.5, 0.5]]), volume, "lps") == mask).all()
    with pytest.raises(ImageError, match="has no place"):
        box_mask(np.array([[1.0, 1.0, 2.0, 2.0]]), volume, "ras")


def test_trivial_maps_stand_beside_those_given():
    frame, files = made()
    image = np.zeros((1, 10, 20))
    image[0, 3, 7] = 5.0
    results = figures(asking(baselines=True), frame, files, images=lambda case: {"image": image})
    assert {f.endpoint for f in results.findings} == {"given", "baseline_image", "baseline_edges", "baseline_centre"}
    assert one(results, "hit_rate", "baseline_image").value == 1.0
    alone = figures(asking(baselines=True), frame, files)
    assert {f.endpoint for f in alone.findings} == {"given", "baseline_centre"}


def test_sizes_that_differ_are_named_all_at_once():
    frame, files = made()
    files.files["m0.png"] = files.files["m1.png"] = png(np.zeros((10, 21)))
    with pytest.raises(InputError) as refused:
        figures(asking(), frame, files)
    assert [p.where for p in refused.value.problems] == ["case c0", "case c1"]
    assert "10 × 21 and 10 × 20" in refused.value.problems[0].what


def test_what_counts_as_salient():
    map_ = np.arange(100.0).reshape(10, 10)

    def least(**settings: object) -> float:
        return salient_from(map_, Localisation.model_validate({"reference": "x", **settings}))

    assert least(salient="brightest", threshold=0.05) == 95.0
    assert least(salient="of_maximum", threshold=0.5) == 49.5
    assert least(salient="value", threshold=7.0) == 7.0
    outline = np.zeros((10, 10))
    outline[2, 3:6] = 7.0, 7.0, 9.0
    brightest = Localisation(reference="x", salient="brightest", threshold=0.05)
    assert salient_from(outline, brightest) == 7.0  # five pixels are asked for, three stand out
    assert salient_from(np.ones((10, 10)), brightest) == np.inf
    assert salient_from(-map_, Localisation(reference="x", salient="of_maximum", threshold=0.5)) == np.inf


def test_a_block_without_maps_is_a_contradiction():
    said = " | ".join(f"{p.where}: {p.what}" for p in check_protocol(asking(maps=None)))
    assert "there are no maps" in said
    assert not list(check_protocol(asking()))
    assert not figures_of_nothing()


def figures_of_nothing():
    frame, files = made(1)
    p = protocol(goal(SENSITIVITY, 0.7))
    return localisation_figures(
        p, case_id=("c",), patient_id=("p",), frame=frame, files=files, read_maps=lambda case: {}, lies=lie
    ).findings
