"""The chest phantom: physics of its projection, its files, its population, and the four packages of its classifier."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "chest_phantom"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"chest_phantom_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def _path() -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return _load("generate")


@pytest.fixture(scope="module")
def small_set(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(generator.generate(tmp_path_factory.mktemp("phantom"), n_patients=16, seed=3)).parent


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestProjection:
    def test_ellipsoid_chords_add_up_to_its_volume(self) -> None:
        from phantom.anatomy import SPACING_MM, ellipsoid, grid

        x, z = grid()
        leant = x - np.float32(0.03) * z
        for angle in (0.0, 0.7):
            seen = ellipsoid(leant, z, cx=20.0, cz=-30.0, ax=50.0, az=35.0, depth=25.0, angle=angle)
            volume = float(seen.sum(dtype=np.float64)) * SPACING_MM**2
            assert volume == pytest.approx(4.0 / 3.0 * np.pi * 50.0 * 35.0 * 25.0, rel=2e-3)

    def test_solid_tube_has_the_mass_of_a_cylinder_even_along_the_beam(self) -> None:
        from phantom.anatomy import SPACING_MM, tubes

        for direction in ((1.0, 0.0, 0.0), (0.6, 0.8, 0.0), (0.0, 0.99, 0.14)):
            along = np.linspace(-40.0, 40.0, 400)
            points = (along[:, None] * np.array(direction))[None]
            seen = tubes(points, np.full((1, 400), 6.0), wall=1.0, across=101)
            volume = float(seen.sum(dtype=np.float64)) * SPACING_MM**2
            assert volume == pytest.approx(np.pi * 6.0**2 * 80.0, rel=5e-3)

    def test_nothing_in_the_beam_gives_all_quanta(self) -> None:
        from phantom.anatomy import SIZE, Thickness
        from phantom.scanner import SCANNERS, expose

        nothing = np.zeros((SIZE, SIZE), dtype=np.float32)
        empty = Thickness(soft=nothing, lung=nothing, bone=nothing, nodule=nothing)
        unit = replace(SCANNERS[0], scatter=0.0)
        detected = expose(empty, unit, np.random.default_rng(0))
        assert float(detected.mean()) == pytest.approx(unit.quanta, rel=1e-3)

    def test_water_attenuates_by_beer_lambert(self) -> None:
        from phantom.anatomy import SIZE, Thickness
        from phantom.scanner import SCANNERS, SOFT_PER_MM, expose

        nothing = np.zeros((SIZE, SIZE), dtype=np.float32)
        water = Thickness(soft=nothing + 100.0, lung=nothing, bone=nothing, nodule=nothing)
        unit = replace(SCANNERS[0], scatter=0.0)
        detected = expose(water, unit, np.random.default_rng(0))
        assert float(detected.mean()) == pytest.approx(unit.quanta * np.exp(-100.0 * SOFT_PER_MM), rel=2e-3)

    def test_a_nodule_brightens_its_place_and_nothing_else(self) -> None:
        from phantom.chest import project
        from phantom.patients import PROFILES, studies

        study = next(s for s in studies(40, seed=5, profile=PROFILES["test"]) if s.body.nodules)
        sick, well = project(study.body), project(replace(study.body, nodules=()))
        mask = sick.nodule > 0
        assert mask.any()
        assert not well.nodule.any()
        for name in ("soft", "lung", "bone"):
            np.testing.assert_array_equal(getattr(sick, name), getattr(well, name))


class TestFiles:
    def test_same_seed_same_bytes(self, generator: ModuleType, tmp_path: Path) -> None:
        for name, seed in (("a", 9), ("b", 9), ("c", 10)):
            generator.generate(tmp_path / name, n_patients=3, seed=seed)
        assert _files(tmp_path / "a") == _files(tmp_path / "b")
        assert _files(tmp_path / "a") != _files(tmp_path / "c")

    def test_more_patients_leave_the_first_unchanged(
        self, generator: ModuleType, small_set: Path, tmp_path: Path
    ) -> None:
        few = _rows(generator.generate(tmp_path, n_patients=2, seed=3))
        assert few == _rows(small_set / "cases.csv")[: len(few)]

    def test_case_table(self, small_set: Path) -> None:
        rows = _rows(small_set / "cases.csv")
        assert len({r["case_id"] for r in rows}) == len(rows)
        assert len({r["patient_id"] for r in rows}) == 16
        assert {r["nodule"] for r in rows} == {"0", "1"}
        for r in rows:
            assert (small_set / r["image"]).is_file()
            assert 18 <= int(r["age"]) <= 99
            assert r["sex"] in ("F", "M")
            assert (r["nodule"] == "1") == bool(r["nodule_size_mm"])
            assert not r["nodule_size_mm"] or 8.0 <= float(r["nodule_size_mm"]) <= 30.0
        assert len(list((small_set / "images").iterdir())) == len(rows)

    def test_masks_are_of_the_positive_cases(self, small_set: Path) -> None:
        from PIL import Image

        positive = {r["case_id"] for r in _rows(small_set / "cases.csv") if r["nodule"] == "1"}
        masks = {r["case_id"]: r["mask"] for r in _rows(small_set / "masks.csv")}
        assert set(masks) == positive
        for mask in masks.values():
            with Image.open(small_set / mask) as image:
                values = np.asarray(image)
            assert values.shape == (256, 256)
            assert set(np.unique(values)) == {0, 255}

    def test_dicom_header(self, small_set: Path) -> None:
        import pydicom

        seen, uids = set(), set()
        for r in _rows(small_set / "cases.csv"):
            ds = pydicom.dcmread(small_set / r["image"])
            aurora = ds.Manufacturer == "Aurora Medical Systems"
            assert ds.PhotometricInterpretation == ("MONOCHROME2" if aurora else "MONOCHROME1")
            assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.Rows, ds.Columns) == (16, 12, 11, 256, 256)
            assert ds.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
            assert (ds.PatientID, ds.PatientSex) == (r["patient_id"], r["sex"])
            assert int(ds.PatientAge[:3]) == int(r["age"])
            assert str(ds.PatientName) == ""
            assert ds.PatientBirthDate == ""
            assert f"{ds.StudyDate[:4]}-{ds.StudyDate[4:6]}-{ds.StudyDate[6:]}" == r["acquired_at"]
            assert pydicom.uid.UID(ds.SOPInstanceUID).is_valid
            seen.add(ds.ManufacturerModelName)
            uids.update((ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID))
        assert seen == {"AX-200", "AX-100M", "BR-1"}
        assert len(uids) == 3 * len(_rows(small_set / "cases.csv"))

    def test_the_suite_reads_both_photometric_interpretations_dense_bright(self, small_set: Path) -> None:
        from phantom.patients import PROFILES, studies
        from phantom.render import render

        from evalsuite.imaging import read_image

        seen = set()
        for study in studies(16, seed=3, profile=PROFILES["test"]):
            if study.scanner.photometric in seen:
                continue
            image = read_image(small_set / "images" / f"{study.case_id}.dcm")
            np.testing.assert_array_equal(image.array[0], render(study).shown)
            assert image.full_range == (0, 4095)
            seen.add(study.scanner.photometric)
        assert seen == {"MONOCHROME1", "MONOCHROME2"}

    def test_progress_and_wrong_arguments(self, generator: ModuleType, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        generator.generate(tmp_path, n_patients=2, seed=1, on_case=lambda done, total: calls.append((done, total)))
        total = len(_rows(tmp_path / "cases.csv"))
        assert calls == [(k, total) for k in range(1, total + 1)]
        with pytest.raises(ValueError, match="profile"):
            generator.generate(tmp_path, n_patients=2, seed=1, profile="none")
        with pytest.raises(ValueError, match="n_patients"):
            generator.generate(tmp_path, n_patients=0, seed=1)
        with pytest.raises(ValueError, match="between 0 and 1"):
            generator.generate(tmp_path, n_patients=1, seed=1, markers_with_disease=1.5)


class TestPopulation:
    def test_the_marker_goes_with_disease_in_training_only(self) -> None:
        from phantom.patients import PROFILES, studies

        share = {}
        for name in ("train", "test", "clean"):
            drawn = list(studies(900, seed=1, profile=PROFILES[name]))
            for sick in (True, False):
                share[name, sick] = np.mean([s.marker for s in drawn if bool(s.body.nodules) is sick])
        assert share["train", True] > share["train", False] + 0.15
        assert abs(share["test", True] - share["test", False]) < 0.08
        assert share["test", True] > 0.1
        assert share["clean", True] == share["clean", False] == 0.0

    def test_sites_go_with_scanners_and_patients_return(self) -> None:
        from phantom.patients import PROFILES, studies

        drawn = list(studies(600, seed=1, profile=PROFILES["test"]))
        assert 1.4 < len(drawn) / 600 < 1.8
        valley = [s.scanner.model for s in drawn if s.site == "valley"]
        north = [s.scanner.model for s in drawn if s.site == "north"]
        assert valley.count("BR-1") / len(valley) > 0.75
        assert "BR-1" not in north
        assert all(18 <= s.age_years <= 99 for s in drawn)


class TestClassifier:
    def test_training_is_reproducible(self) -> None:
        import torch
        from phantom.dataset import draw

        train = _load("train")
        images = draw(26, seed=1, profile="train", workers=1)
        first = train.fit(images, epochs=1, seed=1, verbose=False).state_dict()
        second = train.fit(images, epochs=1, seed=1, verbose=False).state_dict()
        assert all(torch.equal(first[k], second[k]) for k in first)

    def test_auroc_of_a_published_example(self) -> None:
        # Hanley & McNeil, Radiology 143:29-36 (1982), table I: rating of 109 CT images, area by the trapezoid .893
        train = _load("train")
        normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
        score = np.repeat([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], [*normal, *abnormal]).astype(float)
        target = np.repeat([False, True], [58, 51])
        assert train.auroc(target, score) == pytest.approx(0.893, abs=5e-4)

    def test_threshold_is_the_highest_that_keeps_the_sensitivity(self) -> None:
        train = _load("train")
        target = np.array([True] * 10 + [False] * 2)
        score = np.array([0.1, *([0.503] * 4), *([0.9] * 5), 0.2, 0.6])
        assert train.threshold_at(target, score, 0.9) == 0.5

    def test_four_packages_give_the_same_probabilities(self) -> None:
        import torch

        from evalsuite.models.open import open_model

        batch = torch.from_numpy(np.random.default_rng(0).random((3, 1, 256, 256), dtype=np.float32))
        outputs, contracts = [], []
        for name in ("torchscript/model.ts", "exported/model.pt2", "onnx/model.onnx", "bundle"):
            model = open_model(FOLDER / "models" / name)
            assert model.contract.columns == ("p_nodule",)
            spec = model.contract.inputs[0]
            contracts.append(
                (spec.shape, spec.colour, spec.source_range, spec.value_range, spec.normalise, spec.transpose)
            )
            outputs.append(np.asarray(model.network.run([batch])[0].detach()))
        for output in outputs[1:]:
            np.testing.assert_allclose(output, outputs[0], atol=1e-5, rtol=0)
        assert set(contracts) == {((1, 256, 256), "L", (0.0, 4095.0), (0.0, 1.0), "linear", False)}

    def test_packages_are_small_and_name_no_folder_of_the_machine_that_made_them(self) -> None:
        files = [p for p in (FOLDER / "models").rglob("*") if p.is_file()]
        assert max(p.stat().st_size for p in files) < 2_000_000
        assert sum(p.stat().st_size for p in files) < 6_000_000
        for path in files:
            data = path.read_bytes()
            assert not any(word in data for word in (b"site-packages", b"/work", b"/home/", b"/root/")), path.name

    def test_threshold_of_the_protocol_is_the_one_fixed_on_the_tuning_set(self) -> None:
        from evalsuite.protocol.load import load_protocol

        record = json.loads((FOLDER / "training" / "record.json").read_text(encoding="utf-8"))
        protocol = load_protocol(FOLDER / "protocol.yaml")
        assert protocol.operating_point("primary").threshold == record["threshold"]

    def test_packages_hold_the_trained_weights(self) -> None:
        import torch
        from phantom.network import Packaged

        from evalsuite.models.open import open_model

        package = _load("package")
        network = Packaged(package.load_network(FOLDER / "training" / "weights.npz"))
        shipped = open_model(FOLDER / "models" / "bundle")
        batch = torch.from_numpy(np.random.default_rng(1).random((2, 1, 256, 256), dtype=np.float32))
        with torch.no_grad():
            torch.testing.assert_close(network(batch), shipped.network.run([batch])[0], atol=1e-6, rtol=0)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")
    def test_the_bundle_prepares_images_in_monai_as_in_the_suite(self, small_set: Path) -> None:
        from monai.bundle import ConfigParser

        from evalsuite.imaging import read_image

        config = json.loads((FOLDER / "models" / "bundle" / "configs" / "inference.json").read_text(encoding="utf-8"))
        prepare = ConfigParser(config).get_parsed_content("preprocessing")
        for r in _rows(small_set / "cases.csv"):
            image = read_image(small_set / r["image"])
            if image.photometric == "MONOCHROME2":
                prepared = np.asarray(prepare({"image": str(small_set / r["image"])})["image"])
                np.testing.assert_allclose(prepared, image.array.astype(np.float32) / 4095, atol=1e-6)

    @pytest.mark.slow
    def test_the_model_has_the_weaknesses_the_readme_reports(self) -> None:
        from phantom.dataset import draw

        package, train = _load("package"), _load("train")
        threshold = json.loads((FOLDER / "training" / "record.json").read_text(encoding="utf-8"))["threshold"]
        images = draw(250, seed=20260711, profile="test", workers=1)
        scores = train.score(package.load_network(FOLDER / "training" / "weights.npz"), images)
        figures = train.summary(images, scores, threshold)
        makers = figures["auroc_by_manufacturer"]
        assert 0.85 < figures["auroc"] < 0.96
        assert makers["Borealis Imaging"] < makers["Aurora Medical Systems"] - 0.04
        assert figures["specificity_with_marker"] < figures["specificity_without_marker"] - 0.15
