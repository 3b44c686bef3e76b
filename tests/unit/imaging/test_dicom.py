"""DICOM: values as pydicom gives them, shown the right way round, or a typed error that quotes no header."""

from __future__ import annotations

import io
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_voi, apply_windowing
from pydicom.uid import UID, ExplicitVRLittleEndian

from evalsuite.errors import ImageError, InputError
from evalsuite.imaging import read_image
from evalsuite.imaging.attributes import (
    FORBIDDEN_ATTRIBUTES,
    STANDARD_ATTRIBUTES,
    check_keywords,
    is_dicom,
    read_attributes,
)

RNG = np.random.default_rng(2)
CANARY = "CANARY^NAME"


def dataset(
    array: np.ndarray, *, bits: int | None = None, syntax: UID = ExplicitVRLittleEndian, **extra
) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds = FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4"
    ds.PatientName, ds.PatientID, ds.Modality = CANARY, CANARY, "DX"
    ds.Rows, ds.Columns = array.shape[:2]
    ds.SamplesPerPixel = 3 if array.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = array.dtype.itemsize * 8
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    ds.PixelData = array.tobytes()
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    for key, value in extra.items():
        setattr(ds, key, value)
    return ds


def saved(ds: Dataset, path: Path) -> Path:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    path.write_bytes(buffer.getvalue())
    return path


def code_of(path: Path, **kwargs) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path, **kwargs)
    assert "CANARY" not in str(caught.value)
    return caught.value.code


GREY12 = RNG.integers(0, 4096, (10, 12), dtype=np.uint16)
SIGNED = RNG.integers(-2000, 2000, (10, 12), dtype=np.int16)
COLOUR = RNG.integers(0, 256, (10, 12, 3), dtype=np.uint8)


def test_unsigned_keeps_its_integers_and_states_its_range(tmp_path):
    image = read_image(saved(dataset(GREY12, bits=12, PixelSpacing=[0.2, 0.3]), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(image.array, GREY12[np.newaxis])
    assert image.array.dtype == np.uint16
    assert image.full_range == (0, 4095)
    assert image.spacing_mm == (0.2, 0.3)


def test_rescale_gives_measured_values(tmp_path):
    ds = dataset(SIGNED, RescaleSlope=2, RescaleIntercept=-1024)
    image = read_image(saved(ds, tmp_path / "a.dcm"))
    assert image.array.dtype == np.float32
    assert image.full_range is None
    np.testing.assert_array_equal(image.array[0], pydicom.pixels.apply_rescale(SIGNED, ds))


def test_bits_above_the_stored_ones_are_cleared_or_follow_the_sign(tmp_path):
    dirty = GREY12 | 0xA000
    np.testing.assert_array_equal(read_image(saved(dataset(dirty, bits=12), tmp_path / "a.dcm")).array[0], GREY12)
    negative = np.array([[0x0FFF, 0x0800, 0x07FF]], dtype=np.uint16)  # -1, -2048, 2047 in 12 bits
    ds = dataset(negative, bits=12, PixelRepresentation=1)
    assert read_image(saved(ds, tmp_path / "b.dcm")).array.tolist() == [[[-1, -2048, 2047]]]


def test_monochrome1_is_turned_so_that_larger_is_brighter(tmp_path):
    a = read_image(saved(dataset(GREY12, bits=12, PhotometricInterpretation="MONOCHROME1"), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(a.array[0], 4095 - GREY12)
    assert (a.array.dtype, a.photometric) == (np.uint16, "MONOCHROME1")
    b = read_image(saved(dataset(SIGNED, PhotometricInterpretation="MONOCHROME1"), tmp_path / "b.dcm"))
    np.testing.assert_array_equal(b.array[0], -1 - SIGNED)
    ds = dataset(GREY12, bits=12, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, RescaleIntercept=10)
    c = read_image(saved(ds, tmp_path / "c.dcm"))
    np.testing.assert_array_equal(c.array[0], (0 * 2 + 10) + (4095 * 2 + 10) - (GREY12 * 2.0 + 10))
    ds.WindowCenter, ds.WindowWidth = 2000, 1000
    light = read_image(saved(ds, tmp_path / "d.dcm"), window="header").array
    ds.PhotometricInterpretation = "MONOCHROME2"
    dark = read_image(saved(ds, tmp_path / "e.dcm"), window="header").array
    np.testing.assert_allclose(light, 1 - dark, atol=1e-7)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_equal_pydicom(function, tmp_path):
    ds = dataset(GREY12, bits=12, WindowCenter=[1800, 5], WindowWidth=[900, 7], VOILUTFunction=function)
    image = read_image(saved(ds, tmp_path / "a.dcm"), window="header")
    assert image.full_range == (0, 1)
    assert image.kind == "windowed"
    np.testing.assert_allclose(image.array[0], apply_windowing(GREY12, ds) / 4095, atol=1e-6)
    if function == "LINEAR":
        chosen = read_image(tmp_path / "a.dcm", window=(1800.0, 900.0))
        np.testing.assert_array_equal(chosen.array, image.array)


def test_voi_table_equals_pydicom(tmp_path):
    item = Dataset()
    item.LUTDescriptor = [1024, 1000, 12]
    item.LUTData = (np.sqrt(np.arange(1024) / 1023) * 4095).astype(np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    ds = dataset(GREY12, bits=12, VOILUTSequence=[item])
    image = read_image(saved(ds, tmp_path / "a.dcm"), window="header")
    back = pydicom.dcmread(tmp_path / "a.dcm")
    np.testing.assert_allclose(image.array[0], apply_voi(GREY12, back) / 4095, atol=1e-6)


def test_window_that_is_not_there(tmp_path):
    assert code_of(saved(dataset(GREY12, bits=12), tmp_path / "a.dcm"), window="header") == "window"
    zero = dataset(GREY12, bits=12, WindowCenter=1, WindowWidth=0)
    assert code_of(saved(zero, tmp_path / "b.dcm"), window="header") == "window"
    assert code_of(saved(dataset(COLOUR), tmp_path / "c.dcm"), window="header") == "window"


def test_frames_and_functional_groups(tmp_path):
    frames = np.stack([GREY12, GREY12 // 2])
    ds = dataset(GREY12, bits=12, NumberOfFrames=2, PixelData=frames.tobytes())
    shared, per = Dataset(), [Dataset(), Dataset()]
    value = Dataset()
    value.RescaleSlope, value.RescaleIntercept, value.RescaleType = 3, -5, "US"
    shared.PixelValueTransformationSequence = [value]
    own = Dataset()
    own.RescaleSlope, own.RescaleIntercept, own.RescaleType = 7, 1, "US"
    per[1].PixelValueTransformationSequence = [own]
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], per
    path = saved(ds, tmp_path / "a.dcm")
    assert code_of(path) == "multiframe"
    assert code_of(path, frame=2) == "multiframe"
    np.testing.assert_array_equal(read_image(path, frame=0).array[0], GREY12 * 3.0 - 5)
    np.testing.assert_array_equal(read_image(path, frame=1).array[0], (GREY12 // 2) * 7.0 + 1)


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_in_either_plane_order(planar, tmp_path):
    stored = COLOUR if planar == 0 else COLOUR.transpose(2, 0, 1)
    ds = dataset(COLOUR, PlanarConfiguration=planar, PixelData=np.ascontiguousarray(stored).tobytes())
    image = read_image(saved(ds, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(image.array, COLOUR.transpose(2, 0, 1))
    assert image.full_range == (0, 255)


def test_ybr_becomes_rgb(tmp_path):
    ds = dataset(COLOUR, PhotometricInterpretation="YBR_FULL")
    expected = pydicom.pixels.convert_color_space(COLOUR, "YBR_FULL", "RGB")
    np.testing.assert_array_equal(read_image(saved(ds, tmp_path / "a.dcm")).array, expected.transpose(2, 0, 1))


ENCODERS = {
    "1.2.840.10008.1.2.4.80": lambda a: imagecodecs.jpegls_encode(a),
    "1.2.840.10008.1.2.4.90": lambda a: imagecodecs.jpeg2k_encode(a, reversible=True, level=0, codecformat="j2k"),
    "1.2.840.10008.1.2.4.201": lambda a: imagecodecs.htj2k_encode(a, reversible=True),
}


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("array", [GREY12, COLOUR], ids=["grey", "rgb"])
def test_lossless_compression_gives_the_same_values(syntax, array, tmp_path):
    big = np.ascontiguousarray(np.kron(array, np.ones((8, 8, 1), array.dtype)[..., 0] if array.ndim == 2 else
                                       np.ones((8, 8, 1), array.dtype)))  # fmt: skip
    ds = dataset(big, bits=12 if array.ndim == 2 else 8, syntax=UID(syntax))
    ds.PixelData = encapsulate([ENCODERS[syntax](big)])
    ds["PixelData"].is_undefined_length = True
    if array.ndim == 3 and syntax.endswith(("90", "201")):
        ds.PhotometricInterpretation = "YBR_RCT"
    image = read_image(saved(ds, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(image.array, big[np.newaxis] if array.ndim == 2 else big.transpose(2, 0, 1))

    cut = dataset(big, bits=12 if array.ndim == 2 else 8, syntax=UID(syntax))
    data = ENCODERS[syntax](big)
    cut.PixelData = encapsulate([data[: len(data) // 2]])
    cut["PixelData"].is_undefined_length = True
    assert code_of(saved(cut, tmp_path / "b.dcm")) == "truncated"


def test_refusals_by_code(tmp_path):
    def refused(ds: Dataset) -> str:
        return code_of(saved(ds, tmp_path / "x.dcm"))

    assert refused(dataset(GREY12, Modality="SEG")) == "not_image"
    assert refused(dataset(GREY12, PhotometricInterpretation="HSV")) == "photometric"
    assert refused(dataset(GREY12, PhotometricInterpretation="RGB")) == "channels"
    assert refused(dataset(GREY12, PixelData=GREY12.tobytes()[:100])) == "truncated"
    assert refused(dataset(GREY12, HighBit=14)) == "unreadable"
    none = dataset(GREY12)
    del none.PixelData, none.Rows
    assert refused(none) == "empty"
    mpeg = dataset(GREY12, syntax=UID("1.2.840.10008.1.2.4.102"))
    mpeg.PixelData = encapsulate([b"\0" * 100])
    mpeg["PixelData"].is_undefined_length = True
    assert refused(mpeg) == "transfer_syntax"


def test_file_cut_anywhere_is_an_error_or_the_whole_image(tmp_path):
    whole = saved(dataset(GREY12, bits=12), tmp_path / "a.dcm").read_bytes()
    for n in range(132, len(whole), 7):
        (tmp_path / "cut.dcm").write_bytes(whole[:n])
        assert code_of(tmp_path / "cut.dcm") in ("truncated", "empty", "unreadable", "photometric", "transfer_syntax")


def test_three_hundred_damaged_files_and_not_one_untyped_error(tmp_path, caplog):
    whole = saved(dataset(GREY12, bits=12, WindowCenter=10, WindowWidth=20), tmp_path / "a.dcm").read_bytes()
    rng = np.random.default_rng(4)
    path = tmp_path / "b.dcm"
    errors: list[ImageError] = []
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        for _ in range(300):
            data = bytearray(whole)
            for position in rng.integers(132, len(whole) - 240, 3):
                data[position] = rng.integers(0, 256)
            path.write_bytes(bytes(data))
            for read in (read_image, lambda p: read_attributes(p, STANDARD_ATTRIBUTES)):
                try:
                    read(path)
                except ImageError as error:
                    errors.append(error)
    assert errors
    assert not any("CANARY" in str(error) or error.__cause__ is not None for error in errors)
    assert not [r for r in caplog.records if r.name.startswith("pydicom")]


def test_odd_headers_are_noted_and_warn_nobody_from_any_thread(tmp_path):
    ds = dataset(GREY12, bits=12, SpecificCharacterSet="ISO_IR 100")
    path = saved(ds, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))  # a character set nobody knows
    before = warnings.filters[:]
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: read_image(path), range(40)))
    assert all(np.array_equal(i.array[0], GREY12) for i in images)
    assert warnings.filters[:] == before
    assert any("standard" in note for note in images[0].notes)


def test_attributes_as_text(tmp_path):
    ds = dataset(GREY12, Manufacturer="ACME ", ImageType=["ORIGINAL", "PRIMARY"], KVP="120", SliceThickness=None)
    path = saved(ds, tmp_path / "a.dcm")
    keywords = ["Manufacturer", "ImageType", "KVP", "SliceThickness", "EchoTime", "Rows", "TransferSyntaxUID"]
    found = read_attributes(path, keywords)
    assert list(found) == keywords
    assert found["Manufacturer"] == "ACME"
    assert found["ImageType"] == "ORIGINAL\\PRIMARY"
    assert (found["KVP"], found["SliceThickness"], found["EchoTime"], found["Rows"]) == ("120", "", "", "10")
    assert found["TransferSyntaxUID"] == "1.2.840.10008.1.2.1"
    assert "CANARY" not in str(read_attributes(path, STANDARD_ATTRIBUTES))
    assert is_dicom(path)
    (tmp_path / "b.dcm").write_bytes(b"x" * 200)
    assert not is_dicom(tmp_path / "b.dcm")
    with pytest.raises(ImageError):
        read_attributes(tmp_path / "b.dcm", ["KVP"])


def test_identifying_and_unknown_keywords_are_refused_together(tmp_path):
    with pytest.raises(InputError) as caught:
        check_keywords(["PatientName", "StudyInstanceUID", "PatientBirthDate", "Manufacturr", "KVP"])
    assert len(caught.value.problems) == 4
    assert "did you mean 'Manufacturer'?" in str(caught.value)
    assert not FORBIDDEN_ATTRIBUTES & set(STANDARD_ATTRIBUTES)
    check_keywords(STANDARD_ATTRIBUTES)


def oracle(path: Path) -> np.ndarray:
    """What pydicom itself makes of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        array = ds.pixel_array
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            array = pydicom.pixels.apply_color_lut(array, ds)[..., :3]
        array = pydicom.pixels.apply_rescale(array, ds)
    return array[np.newaxis] if array.ndim == 2 else array.transpose(2, 0, 1)


def test_files_of_several_vendors_equal_pydicom(shared_real):
    paths = sorted((shared_real / "dicom_vendors").glob("*.dcm"))
    assert len(paths) == 10
    for path in paths:
        if path.name == "liver_1frame.dcm":
            assert code_of(path) == "not_image"
            continue
        np.testing.assert_array_equal(read_image(path).array, oracle(path), err_msg=path.name)
        assert read_attributes(path, ["Manufacturer", "Modality"])["Modality"]


def test_pydicoms_own_test_files_are_equal_or_refused():
    names = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
    if not names:
        pytest.skip("this pydicom ships no test files")
    n_equal = 0
    for path in names:
        try:
            image = read_image(path)
        except ImageError:
            continue
        try:
            expected = oracle(path)
        except Exception:  # pydicom has no decoder for it here
            continue
        np.testing.assert_array_equal(image.array, expected, err_msg=path.name)
        n_equal += 1
    assert n_equal >= 30
