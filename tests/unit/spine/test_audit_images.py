"""Numbers of a set's images for an audit: of the locked files, kept by their digests, empty where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evalsuite.errors import InputError, LockError
from evalsuite.spine import Who, lock
from evalsuite.spine import audit_images as module
from evalsuite.spine.audit_images import image_numbers
from evalsuite.testset import LockedTestSet, open_testset


def _locked(path: Path, *, images: bool = True) -> LockedTestSet:
    rng = np.random.default_rng(1)
    lines = ["case_id,image,truth" if images else "case_id,truth"]
    for i in range(3):
        plane = rng.integers(0, 200, (12, 10), dtype=np.uint8) if i else np.full((12, 10), 7, dtype=np.uint8)
        Image.fromarray(plane).save(path / f"{i}.png")
        lines.append(f"c{i},{i}.png,1" if images else f"c{i},1")
    (path / "cases.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    who = Who(actor="lab", now=lambda: "2026-01-10T10:00:00.000Z")
    lock(path / "cases.csv", out=path / "set", who=who, reference=["truth"])
    return open_testset(path / "set", verify=False)


def test_numbers_are_kept_by_the_digest_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    testset, cache = _locked(tmp_path), tmp_path / "cache.json"
    first = image_numbers(testset, ["rows", "mean", "noise"], whose="baseline", cache=cache)
    assert first["image:rows"] == ["12"] * 3
    assert first["image:mean"][0] == "7"
    assert first["image:noise"][0] == ""  # one grey value only: not defined
    assert float(first["image:noise"][1]) > 0.0

    def measured(_: object) -> dict[str, float]:
        raise AssertionError("in the cache")

    with monkeypatch.context() as patch:
        patch.setattr(module, "quality_of_files", measured)
        assert image_numbers(testset, ["rows", "mean", "noise"], whose="baseline", cache=cache) == first
    kept = json.loads(cache.read_text(encoding="utf-8"))
    next(iter(kept["files"].values()))["mean"] = "99"
    cache.write_text(json.dumps(kept), encoding="utf-8")  # not as it was written: made anew
    assert image_numbers(testset, ["mean"], whose="baseline", cache=cache)["image:mean"] == first["image:mean"]


def test_images_that_are_not_the_locked_ones_are_refused(tmp_path: Path) -> None:
    testset = _locked(tmp_path)
    Image.fromarray(np.zeros((12, 10), dtype=np.uint8)).save(tmp_path / "1.png")
    with pytest.raises(LockError, match="case c1 in the window"):
        image_numbers(testset, ["mean"], whose="window")


def test_a_set_without_images_has_no_such_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the baseline has no images"):
        image_numbers(_locked(tmp_path, images=False), ["mean"], whose="baseline")
