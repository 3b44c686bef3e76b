"""Volumes: NIfTI as nibabel reads it, DICOM series and enhanced frames in place, or an error that says why not."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from volume_making import affine_of, dicom_file, enhanced, save, write_nifti, write_series

from evalsuite.errors import ImageError
from evalsuite.imaging import read_files, read_image
from evalsuite.imaging.image import Frames, Image, Window

RNG = np.random.default_rng(5)
VOLUME = RNG.integers(0, 200, (5, 4, 6)).astype(np.int16)  # slice, row, column


@dataclass(frozen=True)
class Spec:
    layout: Frames = "volume"
    frame: int | None = None
    window: Window = None


def read(*paths: Path, **spec: object) -> Image:
    return read_files(paths, spec=Spec(**spec), name="case c1")  # type: ignore[arg-type]


def code_of(*paths: Path, **spec: object) -> str:
    with pytest.raises(ImageError) as caught:
        read(*paths, **spec)
    assert "CANARY" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", ">i2"])
def test_nifti_equals_nibabel(dtype, tmp_path):
    array = RNG.integers(0, 100, (4, 5, 6)).astype(dtype)
    path = write_nifti(tmp_path / "a.nii", array, codes="LIA", spacing=(1.5, 2.0, 0.5))
    image = read(path)
    np.testing.assert_array_equal(image.array[0], np.asanyarray(nibabel.load(path).dataobj))
    assert (image.orientation, image.spacing_mm) == ("LIA", (1.5, 2.0, 0.5))
    np.testing.assert_allclose(image.affine, nibabel.load(path).affine)
    assert image.array.dtype == (np.dtype(dtype).newbyteorder("=") if dtype[-2:] in ("u1", "i2", "u2") else np.float32)
    assert image.full_range is None


def test_nifti_compressed_scaled_and_of_version_2(tmp_path):
    array = RNG.integers(0, 100, (4, 5, 6)).astype(np.int16)
    path = write_nifti(tmp_path / "a.nii", array)
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([2.5, -7.0], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(data)))
    scaled = read(tmp_path / "b.nii.gz")
    assert scaled.array.dtype == np.float32
    np.testing.assert_allclose(scaled.array[0], array * 2.5 - 7)
    (tmp_path / "c.nii").write_bytes(nibabel.Nifti2Image(array, affine_of("RAS", (1, 1, 1))).to_bytes())
    np.testing.assert_array_equal(read(tmp_path / "c.nii").array[0], array)


def test_a_fourth_dimension_becomes_channels(tmp_path):
    array = RNG.random((4, 5, 6, 3)).astype(np.float32)
    image = nibabel.Nifti1Image(array, np.eye(4))
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    np.testing.assert_array_equal(read(tmp_path / "a.nii").array, np.moveaxis(array, 3, 0))


def test_a_place_that_is_not_stated_is_not_made_up(tmp_path):
    image = read(write_nifti(tmp_path / "a.nii", VOLUME, codes=None, spacing=(1, 2, 3)))
    assert (image.orientation, image.affine, image.spacing_mm) == (None, None, (1, 2, 3))
    assert any("does not state" in note for note in image.notes)


def test_headers_that_contradict_themselves(tmp_path):
    path = write_nifti(tmp_path / "a.nii", VOLUME)
    other = nibabel.load(path)
    other.set_sform(affine_of("LPS", (1, 1, 1)), 1)
    (tmp_path / "b.nii").write_bytes(other.to_bytes())
    assert code_of(tmp_path / "b.nii") == "orientation"
    other.set_sform(affine_of("RAS", (1, 1, 2)), 1)
    (tmp_path / "c.nii").write_bytes(other.to_bytes())
    assert code_of(tmp_path / "c.nii") == "spacing"
    sheared = affine_of("RAS", (1, 1, 1))
    sheared[0, 2] = 0.3
    flat = nibabel.Nifti1Image(VOLUME, sheared)
    flat.set_qform(None, 0)
    flat.header["pixdim"][3] = np.hypot(1, 0.3)
    (tmp_path / "d.nii").write_bytes(flat.to_bytes())
    assert code_of(tmp_path / "d.nii") == "sheared"


def test_damaged_nifti_is_one_typed_error(tmp_path):
    whole = write_nifti(tmp_path / "a.nii", VOLUME).read_bytes()
    packed = gzip.compress(whole)
    for n in (0, 3, 100, 348, 400, len(whole) - 1):
        (tmp_path / "b.nii").write_bytes(whole[:n])
        assert code_of(tmp_path / "b.nii") in ("truncated", "unreadable", "empty", "size")
    for n in (10, len(packed) // 2, len(packed) - 9):
        (tmp_path / "b.nii.gz").write_bytes(packed[:n])
        assert code_of(tmp_path / "b.nii.gz") in ("truncated", "unreadable")
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(whole + bytes(3 << 20)))
    assert code_of(tmp_path / "c.nii.gz") == "truncated"
    lies = bytearray(whole)
    lies[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (tmp_path / "d.nii").write_bytes(lies)
    assert code_of(tmp_path / "d.nii") == "size"
    rng = np.random.default_rng(3)
    causes = []
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, 352, 3):
            data[at] = rng.integers(0, 256)
        (tmp_path / "e.nii").write_bytes(data)
        try:
            read(tmp_path / "e.nii")
        except ImageError as error:
            causes.append(error.__cause__)
    assert causes
    assert set(causes) == {None}


def test_a_series_is_put_in_order_and_in_place(tmp_path):
    paths = write_series(tmp_path / "s", VOLUME, order=[3, 0, 4, 2, 1])
    image = read(*paths)
    np.testing.assert_array_equal(image.array[0], VOLUME)
    assert image.array.dtype == np.int16
    assert image.spacing_mm == pytest.approx((2.0, 0.5, 0.75))
    # an axial slice: positions grow upwards, rows towards the back, columns towards the left
    assert image.orientation == "SPL"
    np.testing.assert_allclose(np.asarray(image.affine) @ [1, 2, 3, 1], [-(10 + 3 * 0.75), -(20 + 2 * 0.5), 30 + 2, 1])


def test_rescale_of_each_slice_and_a_window_for_all(tmp_path):
    slopes = {"RescaleSlope": lambda i: i + 1.0, "RescaleIntercept": -5.0}
    image = read(*write_series(tmp_path / "s", VOLUME, **slopes))
    expected = VOLUME * np.arange(1.0, 6).reshape(-1, 1, 1) - 5
    np.testing.assert_array_equal(image.array[0], expected.astype(np.float32))
    shown = read(*write_series(tmp_path / "w", VOLUME, WindowCenter=100.0, WindowWidth=50.0), window="header")
    assert shown.full_range == (0, 1)
    several = write_series(tmp_path / "v", VOLUME, WindowCenter=lambda i: 100.0 + i, WindowWidth=50.0)
    assert code_of(*several, window="header") == "window"


@pytest.mark.parametrize("plane", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (0.96, 0.28, 0, 0, 0, -1)])
def test_sagittal_coronal_and_oblique_series_agree_with_nibabel(plane, tmp_path):
    image = read(*write_series(tmp_path / "s", VOLUME, orientation=plane))
    assert image.orientation == "".join(nibabel.aff2axcodes(np.asarray(image.affine)))
    np.testing.assert_array_equal(image.array[0], VOLUME)


def with_another(paths: list[Path], folder: Path, **changed: object) -> list[Path]:
    """The series and one more slice: the fifth of a like one, changed."""
    return [*paths, write_series(folder / "more", VOLUME, **changed)[4]]


NOT_ONE_VOLUME = {
    "gap": ("gaps", lambda p, f: p[:2] + p[3:]),
    "slice twice": ("duplicates", with_another),
    "place twice": ("duplicates", lambda p, f: with_another(p, f, SOPInstanceUID="1.5")),
    "orientation": (
        "mixed orientations",
        lambda p, f: with_another(p, f, SOPInstanceUID="1.5", orientation=(0, 1, 0, 0, 0, -1)),
    ),
    "series": ("series", lambda p, f: with_another(p, f, SOPInstanceUID="1.5", SeriesInstanceUID="1.8")),
    "size": ("series", lambda p, f: [*p, save(dicom_file(np.zeros((9, 9), np.int16)), f / "x.dcm")]),
    "no dicom": ("series", lambda p, f: [*p, write_nifti(f / "x.nii", VOLUME)]),
    "one slice": ("series", lambda p, f: p[:1]),
}


@pytest.mark.parametrize("what", NOT_ONE_VOLUME)
def test_a_series_that_is_no_volume(what, tmp_path):
    code, change = NOT_ONE_VOLUME[what]
    assert code_of(*change(write_series(tmp_path / "s", VOLUME), tmp_path)) == code


def test_uneven_and_sheared_slices(tmp_path):
    def place(i: int, x: float = 0.0, z: float = 0.0) -> list[float]:
        return [10.0 + x * i, 20.0, 30.0 + 2 * i + (z if i == 2 else 0)]

    uneven = write_series(tmp_path / "u", VOLUME, ImagePositionPatient=lambda i: place(i, z=0.5))
    assert code_of(*uneven) == "uneven"
    tilted = write_series(tmp_path / "t", VOLUME, ImagePositionPatient=lambda i: place(i, x=0.2))
    assert code_of(*tilted) == "sheared"


def test_positions_that_are_absent_leave_the_place_unknown(tmp_path):
    paths = write_series(tmp_path / "s", VOLUME, order=[4, 3, 2, 1, 0], ImagePositionPatient=None)
    image = read(*paths)
    np.testing.assert_array_equal(image.array[0], VOLUME)  # by instance number
    assert image.affine is None
    assert any("instance number" in note for note in image.notes)


def test_enhanced_frames_in_any_order_with_their_own_rescale(tmp_path):
    slopes = [1.0, 2.0, 3.0, 4.0, 5.0]
    path = save(enhanced(VOLUME, order=[4, 1, 0, 3, 2], slopes=slopes), tmp_path / "e.dcm")
    image = read(path)
    np.testing.assert_array_equal(image.array[0], VOLUME * np.array(slopes).reshape(-1, 1, 1).astype(np.float32))
    assert (image.orientation, image.spacing_mm) == ("SPL", pytest.approx((2.0, 0.5, 0.75)))
    twice = enhanced(np.concatenate([VOLUME, VOLUME]))
    for i, frame in enumerate(twice.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient[2] = 30.0 + 2 * (i % 5)
    assert code_of(save(twice, tmp_path / "t.dcm")) == "duplicates"


def test_a_cine_loop_is_a_stack_or_one_frame_and_never_a_volume(tmp_path):
    loop = RNG.integers(0, 255, (7, 4, 6)).astype(np.uint8)
    path = save(dicom_file(loop, modality="US"), tmp_path / "us.dcm")
    assert code_of(path) == "multiframe"
    assert code_of(path, layout="one") == "multiframe"
    np.testing.assert_array_equal(read(path, layout="one", frame=3).array[0], loop[3])
    stack = read(path, layout="stack")
    np.testing.assert_array_equal(stack.array[0], loop)
    assert (stack.full_range, stack.spacing_mm, stack.affine) == ((0, 255), None, None)


def test_pages_of_a_tiff_and_files_of_a_folder_are_stacks(tmp_path):
    import cv2

    pages = RNG.integers(0, 65535, (3, 4, 6)).astype(np.uint16)
    cv2.imwritemulti(str(tmp_path / "a.tif"), list(pages))
    np.testing.assert_array_equal(read(tmp_path / "a.tif", layout="stack").array[0], pages)
    assert code_of(tmp_path / "a.tif", layout="one") == "multiframe"
    files = []
    for i, page in enumerate(pages):
        files.append(tmp_path / f"{i}.png")
        cv2.imwrite(str(files[-1]), page)
    np.testing.assert_array_equal(read(*files, layout="stack").array[0], pages)
    assert code_of(*files, layout="one") == "several files"
    assert code_of(*files) == "series"
    assert code_of(layout="stack") == "no image"


def test_a_window_is_for_dicom(tmp_path):
    assert code_of(write_nifti(tmp_path / "a.nii", VOLUME), window=(1.0, 2.0)) == "window"


def test_real_t1_volume(shared_real):
    path = shared_real / "mri_t1_brainchop" / "t1_crop.nii.gz"
    image = read_image(path)
    assert (image.array.shape, image.array.dtype, image.orientation) == ((1, 256, 256, 256), np.uint8, "LIA")
    np.testing.assert_array_equal(image.array[0], np.asanyarray(nibabel.load(path).dataobj))
