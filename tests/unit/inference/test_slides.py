"""Whole slides: levels and tissue as stored, tiles that cover, answers put together, memory that does not grow."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inference_fakes import make_testset

pytest.importorskip("tiffslide", reason="the extra wsi is not installed")

from evalsuite.errors import ContractError, ImageError
from evalsuite.imaging.slide import Slide, tissue_mask
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.contract import InputSpec, build_contract
from evalsuite.models.open import open_model
from evalsuite.models.tiling import aggregate, tile_grid

SETTINGS = InferenceSettings(device="cpu", threads=1, decoders=2, batch_size=4)
ROWS, COLUMNS, TILE = 192, 256, 32


def painted(seed: int = 0, *, tissue: bool = True) -> np.ndarray:
    """White glass; a purple block at rows 32-128, columns 64-192, whose red differs from tile to tile."""
    image = np.full((ROWS, COLUMNS, 3), 242, dtype=np.uint8)
    if tissue:
        rng = np.random.default_rng(seed)
        for row in range(32, 128, TILE):
            for column in range(64, 192, TILE):
                image[row : row + TILE, column : column + TILE] = [rng.integers(60, 160), 20, 180]
    return image


def write_slide(path: Path, image: np.ndarray, *, mpp: float | None = 0.5, levels: int = 3) -> Path:
    import tifffile

    def resolution(level: int) -> dict[str, Any]:
        per_cm = 1e4 / ((mpp or 1) * 2**level)
        return {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"} if mpp else {}

    options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64)}
    with tifffile.TiffWriter(path) as writer:
        writer.write(image, subifds=levels - 1, **options, **resolution(0))
        for level in range(1, levels):
            step = 2**level
            writer.write(image[::step, ::step], subfiletype=1, **options, **resolution(level))
    return path


def spec(**tiles: Any) -> InputSpec:
    how = {"mpp": 0.5, "aggregate": "mean"} | tiles
    resize = how.pop("resize", "none")
    how = {k: v for k, v in how.items() if v is not None}
    return InputSpec.model_validate({"shape": (3, TILE, TILE), "colour": "RGB", "tiles": how, "resize": resize})


def expected_reds(image: np.ndarray) -> np.ndarray:
    return np.array([image[r, c, 0] for r in range(32, 128, TILE) for c in range(64, 192, TILE)]) / 255


def test_windows_of_every_level_are_the_stored_pixels(tmp_path):
    image = painted()
    with Slide(write_slide(tmp_path / "a.tif", image)) as slide:
        assert [(v.rows, v.columns, v.mpp) for v in slide.levels] == [(192, 256, 0.5), (96, 128, 1.0), (48, 64, 2.0)]
        np.testing.assert_array_equal(slide.read(5, 7, 20, 30, level=1), image[::2, ::2][5:25, 7:37].transpose(2, 0, 1))


def test_tissue_is_found_and_glass_is_not(tmp_path):
    image = painted()
    found = tissue_mask(image)
    assert found[40:120, 70:185].mean() > 0.99
    assert found[:28].mean() == 0
    assert not tissue_mask(painted(tissue=False)).any()


def test_tiles_of_tissue_row_by_row_and_all_of_them_where_asked(tmp_path):
    with Slide(write_slide(tmp_path / "a.tif", painted())) as slide:
        grid = tile_grid(slide, spec(min_tissue=0.5), name="a")
        corners = [[r, c] for r in range(32, 128, TILE) for c in range(64, 192, TILE)]
        assert (grid.corners.tolist(), grid.n_all, grid.level) == (corners, 48, 0)
        every = tile_grid(slide, spec(tissue="none", overlap=8), name="a").corners
        seen = np.zeros((ROWS, COLUMNS), dtype=bool)
        for row, column in every:
            seen[row : row + TILE, column : column + TILE] = True
        assert seen.all()
        assert every.min() == 0
        assert (every.max(axis=0) == [ROWS - TILE, COLUMNS - TILE]).all()


def test_levels_by_pixel_size_never_silently(tmp_path):
    def level_of(slide: Slide, **tiles: Any) -> tuple[int, int]:
        grid = tile_grid(slide, spec(tissue="none", **tiles), name="a")
        return grid.level, grid.rows

    with Slide(write_slide(tmp_path / "a.tif", painted())) as slide:
        assert level_of(slide, mpp=1.01) == (1, TILE)
        assert level_of(slide, mpp=None, level=2) == (2, TILE)
        assert level_of(slide, mpp=1.5, resize="area") == (1, 48)
        for tiles in ({"mpp": 1.5}, {"mpp": 0.25, "resize": "area"}, {"mpp": None, "level": 3}):
            with pytest.raises(ImageError) as caught:
                level_of(slide, **tiles)
            assert caught.value.code == "spacing"
        with pytest.raises(ImageError, match=r"0\.5, 1, 2 µm per pixel, the model's contract takes 1\.5"):
            level_of(slide, mpp=1.5)
    with Slide(write_slide(tmp_path / "b.tif", painted(), mpp=None)) as slide, pytest.raises(ImageError) as caught:
        level_of(slide)
    assert "does not state the size of its pixels" in str(caught.value)


def test_answers_put_together():
    values = {"p": np.array([0.1, 0.9, 0.5, 0.3])}
    for how, wanted in (
        ({"aggregate": "mean"}, 0.45),
        ({"aggregate": "max"}, 0.9),
        ({"aggregate": "top_k", "k": 2}, 0.7),
    ):
        tiles = spec(**how).tiles
        assert tiles is not None
        assert aggregate(values, tiles)["p"] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("tiles", "text"),
    [
        ({"level": 0}, "either mpp or level"),
        ({"aggregate": "top_k"}, "tiles.k"),
        ({"overlap": 40}, "overlap is smaller"),
    ],
)
def test_contradictions_are_named(tiles, text):
    with pytest.raises(ValueError, match=text):
        spec(**tiles)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    class Red(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image[:, :1].mean(dim=(2, 3))

    folder = tmp_path_factory.mktemp("slides")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Red()), folder / "model.ts")
    return folder / "model.ts"


def run(package: Path, folder: Path, files: list[Path], **more: Any):
    contract = {
        "schema": "evalsuite/model/1",
        "inputs": [spec(min_tissue=0.5, **more).model_dump(mode="json")],
        "outputs": [{"name": "y", "meaning": "probabilities", "classes": ["red"], "activation": "none"}],
    }
    build_contract(contract, where="x")
    (folder / "contract.json").write_text(json.dumps(contract))
    model = open_model(package, contract=folder / "contract.json")
    found = make_testset(len(files))
    cases = tuple(replace(c, images={"slide": (f,)}) for c, f in zip(found.cases, files, strict=True))
    return predict(model, replace(found, cases=cases), settings=SETTINGS, work=folder / "work")


def test_slides_through_the_engine(package, tmp_path):
    files = [write_slide(tmp_path / f"{i}.tif", painted(i)) for i in range(6)]
    write_slide(files[2], painted(tissue=False))
    files[4].write_bytes(files[4].read_bytes()[:3000])
    predictions = run(package, tmp_path, files)
    assert predictions.table["reason"].tolist() == [None, None, "no tissue", None, "truncated", None]
    for i in (0, 1, 3, 5):
        assert predictions.table["p_red"][i] == pytest.approx(expected_reds(painted(i)).mean(), abs=1e-6)
    record = predictions.record["inference"]
    assert record["prepared"] == {
        "image: tiles seen": 4 * 12,
        "image: tiles without tissue left out": 4 * 36,
    }
    assert (record["n_computed"], record["shards"], record["rerun"]["n"]) == (6, 2, 1)
    assert record["rerun"]["bitwise_equal"]
    again = run(package, tmp_path, files)
    assert (again.record["inference"]["resumed_shards"], again.digest) == (2, predictions.digest)


def test_a_damaged_tile_makes_a_failed_case_of_its_slide(package, tmp_path):
    path = write_slide(tmp_path / "a.tif", painted(1))
    top = run(package, tmp_path, [path], aggregate="max")
    assert top.table["p_red"][0] == pytest.approx(expected_reds(painted(1)).max(), abs=1e-6)

    real = Slide.read

    def damaged(self: Slide, row: int, column: int, *size: int, level: int):
        if (row, column) == (96, 160):
            raise ImageError("damaged", code="truncated")
        return real(self, row, column, *size, level=level)

    other = write_slide(tmp_path / "b.tif", painted(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slide, "read", damaged)
        with pytest.raises(Exception, match="truncated"):
            run(package, tmp_path, [other])


def test_a_slide_of_another_pixel_size_does_not_fit(package, tmp_path):
    path = write_slide(tmp_path / "a.tif", painted(), mpp=0.4)
    with pytest.raises(ContractError, match="the model's contract takes"):
        run(package, tmp_path, [path])
