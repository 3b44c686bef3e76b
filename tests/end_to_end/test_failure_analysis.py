"""Wrong cases from images to report: pictures with outlines, listing, search, what-if, and a reviewer's file."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalsuite.record.digest import sha256_file
from tests.end_to_end.conftest import N, lay_out_little, make_study, protocol_text, require_traced

BLOCKS = {
    "failures": {"near": 0.05, "confident": 0.2, "outline": "mask", "shown": 2, "permutations": 99},
    "slices": {"support": 10},
    "threshold_what_if": {"stratum": "sex"},
}


def with_images(folder: Path) -> None:
    """An image per case, in colour but for one; masks of positives; two cases share a file and not the reference."""
    rng = np.random.default_rng(0)
    rows = list(csv.DictReader((folder / "cases.csv").read_text().splitlines()))
    (folder / "i").mkdir()
    one = np.zeros((12, 16), np.uint8)
    one[4:8, 5:9] = 1
    for i, row in enumerate(rows):
        colours = rng.integers(0, 255, size=(12, 16, 3), dtype=np.uint8)
        Image.fromarray(colours[:, :, 0] if i == 1 else colours).save(folder / "i" / f"{i}.png")
        Image.fromarray(one * (i + 1)).save(folder / "i" / f"m{i}.png")
        row["image"] = f"i/{i}.png"
        row["mask"] = f"i/m{i}.png" if row["truth"] == "1" else ""
    truths = [r["truth"] for r in rows]
    other = next(i for i in range(N) if truths[i] != truths[0])
    rows[other]["image"] = rows[0]["image"]
    with (folder / "cases.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    # The two with one image are both wrong, and surely so.
    scores = dict(csv.reader((folder / "predictions.csv").read_text().splitlines()))
    for i in (0, other):
        scores[f"c{i:03d}"] = "0.010000" if truths[i] == "1" else "0.990000"
    (folder / "predictions.csv").write_text("".join(f"{k},{v}\n" for k, v in scores.items()))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, cli):
    study = make_study(tmp_path_factory.mktemp("wrong"))
    with_images(study.folder)
    study.protocol.write_text(
        protocol_text(analyses=BLOCKS, disclose=["sex"], clauses={"H-01 missed disease": ["sensitivity"]})
    )
    with pytest.MonkeyPatch.context() as patch:
        lay_out_little(patch)
        require_traced(patch)
        for command in (
            ("lock", study.cases, "--protocol", study.protocol, "--out", study.testset),
            ("freeze", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.frozen),
            ("run", study.frozen, "--testset", study.testset, "--model", study.predictions, "--out", study.run),
        ):
            result = cli(*command)
            assert result.code in (0, 1), result.err
    return study


def listed(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_listing_names_the_worst_first_and_what_is_doubtful(done):
    rows = listed(done.run / "arrays" / "failures.csv")
    missed = [r for r in rows if r["kind"] == "false negative"]
    assert missed
    beyond = [float(r["beyond"]) for r in missed]
    assert beyond == sorted(beyond, reverse=True)
    twice = [r for r in rows if r["other_reference"] == "yes"]
    assert {r["kind"] for r in twice} == {"false negative", "false positive"}
    assert {r["same_image_as"] for r in twice} == {r["case_id"] for r in twice}
    assert all(r["reference_error"] == "candidate" for r in twice)
    assert "group: sex" in rows[0]
    assert "group: age" not in rows[0]  # not disclosed


def test_pictures_are_in_colour_with_the_mask_outlined(done):
    pictures = json.loads((done.run / "arrays" / "pictures.json").read_text())["pictures"]
    groups = [p["group"] for p in pictures]
    assert groups.count("false negative") == 2
    assert groups.count("false positive") == 2
    for picture in pictures:
        assert (picture["width"], picture["height"]) == (16, 12)
        positive = picture["group"] == "false negative" or "reference positive" in picture["note"]
        expected = ["reference"] if positive else []
        assert [d["kind"] for d in picture["drawn"]] == expected
    lines = next(p for p in pictures if p["drawn"])["drawn"][0]["lines"]
    assert sorted(map(tuple, lines)) == [(5, 4, 5, 8), (5, 4, 9, 4), (5, 8, 9, 8), (9, 4, 9, 8)]


def test_the_report_has_the_section_with_all_its_parts(done, cli):
    html = (done.run / "report.html").read_text()
    for words in (
        *("Failure analysis", "H-01 missed disease", "positive cases called negative", "same image, other reference"),
        *("Groups with more failures", "Slices", "What if groups had thresholds of their own", "never applied"),
    ):
        assert words in html, words
    assert cli("verify", done.run).code == 0


def test_the_same_inputs_give_the_same_listing_and_pictures(done, cli):
    before = {p.name: sha256_file(p) for p in (done.run / "arrays").iterdir()}
    result = cli("score", done.run)
    assert result.code in (0, 1), result.err
    assert {p.name: sha256_file(p) for p in (done.run / "arrays").iterdir()} == before


def test_a_review_is_a_copy_and_the_run_stays_as_it_was(done, cli, tmp_path):
    rows = listed(done.run / "arrays" / "failures.csv")
    rows[0] |= {"category": "reference error", "comment": "biopsy says otherwise"}
    rows[1] |= {"category": "subtle", "score": "as a spreadsheet writes it"}
    write(tmp_path / "filled.csv", list(reversed(rows)))
    before = {p: sha256_file(p) for p in sorted(done.run.rglob("*")) if p.is_file()}
    result = cli(
        *("review", done.run, tmp_path / "filled.csv", "--out", tmp_path / "copy", "--actor", "R. Reader", "--json")
    )
    assert result.code == 0, result.err
    said = result.json()
    assert said["counts"][rows[0]["kind"]]["reference error"] == 1
    assert {p: sha256_file(p) for p in sorted(done.run.rglob("*")) if p.is_file()} == before
    html = (tmp_path / "copy" / "report.html").read_text()
    for words in ("Reviewed copy", "R. Reader", "Causes, as a reviewer sees them", said["review"][:12]):
        assert words in html, words
    filled = listed(tmp_path / "copy" / "failures.csv")
    assert filled[0]["comment"] == "biopsy says otherwise"
    assert filled[1]["score"] == listed(done.run / "arrays" / "failures.csv")[1]["score"]
    ledger = (done.testset / "ledger.jsonl").read_text()
    assert said["review"] in ledger
    assert cli("verify", done.run).code == 0


def test_the_developers_view_says_nothing_of_cases_groups_or_searches(done, cli, tmp_path):
    result = cli("export", done.run, "--view", "developer", "--out", tmp_path / "view")
    assert result.code == 0, result.err
    html = (tmp_path / "view" / "report.html").read_text()
    for words in (
        "positive cases called negative",
        "singled out",
        "thresholds of their own",
        "No group could be compared",
    ):
        assert words not in html, words
    assert "the protocol asks for no failure analysis" not in html.lower()  # it does; this view withholds it


def write(path: Path, rows: list[dict[str, str]], columns: list[str] | None = None) -> None:
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=columns or list(rows[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def test_a_review_that_does_not_fit_is_refused_with_every_problem(done, cli, tmp_path):
    rows = listed(done.run / "arrays" / "failures.csv")[:4]
    rows[0]["case_id"] = "secret name"
    rows[1]["category"] = "subtel"
    rows[2]["comment"] = "x" * 1001
    write(tmp_path / "bad.csv", [*rows, rows[3]])
    result = cli("review", done.run, tmp_path / "bad.csv", "--out", tmp_path / "out")
    assert result.code == 2
    for words in ("4 problems", "row 2", "not a wrong case", "row 3", "did you mean", "row 4", "too long", "row 6"):
        assert words in " ".join(result.err.split()), words
    assert "secret" not in result.err
    assert "subtel'" not in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["empty", "columns", "nothing", "zip", "absent", "inside", "developer"])
def test_other_ways_to_go_wrong(done, cli, tmp_path, what):
    rows = listed(done.run / "arrays" / "failures.csv")
    file, out, more = tmp_path / "f.csv", tmp_path / "out", ()
    if what == "empty":
        file.write_text("")
    elif what == "columns":
        write(file, rows, ["case_id", "comment"])
    elif what == "nothing":
        write(file, rows)
    elif what == "zip":
        with zipfile.ZipFile(file, "w") as z:
            z.writestr("a", "b")
    elif what in ("inside", "developer"):
        rows[0]["category"] = "other"
        write(file, rows)
        out, more = (done.run / "review", ()) if what == "inside" else (out, ("--role", "operator"))
    result = cli("review", done.run, file, "--out", out, *more)
    assert result.code == 2, result.err
    assert not out.exists()
