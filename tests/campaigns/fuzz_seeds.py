"""Small sound files of every format that the suite reads, to be damaged by the campaign."""

from __future__ import annotations

import gzip
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import imagecodecs
import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

Kind = Literal["image", "stack", "volume", "table", "model"]
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "tiny",
    "inputs": [{"name": "image", "shape": [1, 8, 8], "colour": "L"}],
    "outputs": [{"name": "y", "meaning": "logits", "activation": "softmax", "classes": ["benign", "malignant"]}],
}


def _same(data: bytes) -> bytes:
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One file: `data` is damaged, then `pack` puts it into what is read (compressed, zipped), a file called `name`."""

    format: str
    kind: Kind
    name: str
    data: bytes
    pack: Callable[[bytes], bytes] = _same


def images() -> Iterator[Seed]:
    """DICOM of several transfer syntaxes, PNG, JPEG, TIFF and NIfTI."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 4096, (24, 20)).astype(np.uint16)
    small = (grey >> 4).astype(np.uint8)
    colour = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
    plain = {
        "implicit little endian": "1.2.840.10008.1.2",
        "explicit little endian": "1.2.840.10008.1.2.1",
        "explicit big endian": "1.2.840.10008.1.2.2",
        "deflated": "1.2.840.10008.1.2.1.99",
    }
    for words, uid in plain.items():
        yield _dicom(words, _dataset(grey, uid))
    yield _dicom("cine of 5 frames", _dataset(np.stack([small] * 5), "1.2.840.10008.1.2.1"), kind="stack")
    packed: dict[str, tuple[str, np.ndarray, bytes]] = {
        "RLE": ("1.2.840.10008.1.2.5", small, _rle(small)),
        "JPEG baseline": ("1.2.840.10008.1.2.4.50", small, imagecodecs.jpeg8_encode(small)),
        "JPEG baseline, colour": ("1.2.840.10008.1.2.4.50", colour, imagecodecs.jpeg8_encode(colour)),
        "JPEG lossless": ("1.2.840.10008.1.2.4.70", grey, imagecodecs.ljpeg_encode(grey, bitspersample=12)),
        "JPEG-LS": ("1.2.840.10008.1.2.4.80", grey, imagecodecs.jpegls_encode(grey)),
        "JPEG 2000": (
            "1.2.840.10008.1.2.4.90",
            grey,
            imagecodecs.jpeg2k_encode(grey, codecformat="j2k", reversible=True),
        ),
        "HTJ2K": ("1.2.840.10008.1.2.4.201", grey, imagecodecs.htj2k_encode(grey)),
    }
    for words, (uid, array, stream) in packed.items():
        yield _dicom(words, _dataset(array, uid, stream))
    for extension, array in (("png", small), ("png", grey), ("png", colour), ("jpg", small), ("jpg", colour)):
        words = f"{extension.upper().replace('JPG', 'JPEG')} {'colour' if array.ndim == 3 else array.itemsize * 8}"
        yield Seed(format=words, kind="image", name=f"x.{extension}", data=_encoded(extension, array))
    for words, array in (("8", small), ("16", grey), ("colour", colour)):
        yield Seed(format=f"TIFF {words}", kind="image", name="x.tif", data=_encoded("tif", array))
    _, pages = cv2.imencodemulti(".tif", [small, small, small])
    yield Seed(format="TIFF pages", kind="stack", name="x.tif", data=pages.tobytes())
    volume = _nifti(rng.integers(0, 255, (9, 8, 7)).astype(np.int16))
    yield Seed(format="NIfTI", kind="volume", name="x.nii", data=volume)
    yield Seed(format="NIfTI, compressed", kind="volume", name="x.nii.gz", data=gzip.compress(volume, mtime=0))
    yield Seed(format="NIfTI, before compression", kind="volume", name="x.nii.gz", data=volume, pack=_compressed)


def _compressed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)


def _dicom(words: str, data: bytes, kind: Kind = "image") -> Seed:
    return Seed(format=f"DICOM {words}", kind=kind, name="x.dcm", data=data)


def _dataset(array: np.ndarray, uid: str, stream: bytes | None = None) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(uid)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    ds = Dataset()
    ds.file_meta, ds.preamble = meta, b"\0" * 128
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4"
    ds.PatientName, ds.PatientID, ds.Modality = "CANARY^NAME", "CANARY", "DX"
    colour = array.shape[-1] == 3
    ds.Rows, ds.Columns = array.shape[:2] if colour else array.shape[-2:]
    if array.ndim == 3 and not colour:
        ds.NumberOfFrames = array.shape[0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = 8 * array.itemsize
    ds.BitsStored = 8 if array.itemsize == 1 else 12
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    ds.PixelSpacing, ds.WindowCenter, ds.WindowWidth = [0.5, 0.5], 1000, 2000
    swapped = array.astype(">u2") if uid.endswith(".1.2.2") and array.itemsize == 2 else array
    ds.PixelData = encapsulate([stream]) if stream is not None else np.ascontiguousarray(swapped).tobytes()
    ds["PixelData"].VR = "OB" if stream is not None or ds.BitsAllocated == 8 else "OW"
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        big, implicit = uid.endswith(".1.2.2"), uid.endswith(".10008.1.2")
        dcmwrite(buffer, ds, implicit_vr=implicit, little_endian=not big, enforce_file_format=True)
    return buffer.getvalue()


def _rle(array: np.ndarray) -> bytes:
    """One segment of literal runs (PS3.5 annex G)."""
    flat = array.tobytes()
    runs = b"".join(bytes([len(flat[i : i + 128]) - 1]) + flat[i : i + 128] for i in range(0, len(flat), 128))
    return struct.pack("<16I", 1, 64, *[0] * 14) + runs + b"\0" * (len(runs) % 2)


def _encoded(extension: str, array: np.ndarray) -> bytes:
    _, data = cv2.imencode(f".{extension}", array)
    return bytes(data.tobytes())


def _nifti(array: np.ndarray) -> bytes:
    import nibabel

    image = nibabel.Nifti1Image(array, np.diag([1.0, 1.5, 2.0, 1.0]))
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    return bytes(image.to_bytes())


def models(folder: Path) -> Iterator[Seed]:
    """A network in every package format that is one file; `folder` is scratch."""
    import torch

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Conv2d(1, 2, 3)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.head(image).mean((2, 3))

    torch.manual_seed(0)
    tiny, example = Tiny().eval(), torch.zeros(2, 1, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(tiny, example)
        torch.jit.save(script, folder / "tiny.ts")
        batch = torch.export.Dim("batch", min=1, max=64)
        torch.export.save(torch.export.export(tiny, (example,), dynamic_shapes=({0: batch},)), folder / "tiny.pt2")
        torch.onnx.export(
            tiny, (example,), folder / "tiny.onnx", input_names=["image"], output_names=["y"],
            dynamic_axes={"image": {0: "n"}}, dynamo=False,
        )  # fmt: skip
    for words, name in (("TorchScript", "tiny.ts"), ("torch.export", "tiny.pt2"), ("ONNX", "tiny.onnx")):
        data = (folder / name).read_bytes()
        yield Seed(format=f"model {words}", kind="model", name=name, data=data)
        if name != "tiny.onnx":
            for member in _members(data):
                yield Seed(
                    format=f"model {words}, a member", kind="model", name=name, data=member.data, pack=member.pack
                )


def tables() -> Iterator[Seed]:
    """Recorded predictions and a contract."""
    import pandas as pd

    table = pd.DataFrame({"case_id": ["a", "b", "c"], "p_disease": [0.1, 0.5, 0.9]})
    parquet = table.to_parquet()
    yield Seed(format="recorded, Parquet", kind="table", name="x.parquet", data=parquet)
    yield Seed(format="recorded, CSV", kind="table", name="x.csv", data=table.to_csv(index=False).encode())
    yield Seed(format="contract", kind="table", name="contract.json", data=json.dumps(CONTRACT).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rezipped:
    """Puts one member of an archive back among the others."""

    archive: bytes
    member: str

    def __call__(self, data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(self.archive)) as old, zipfile.ZipFile(buffer, "w") as new:
            for info in old.infolist():
                new.writestr(info, data if info.filename == self.member else old.read(info))
        return buffer.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    data: bytes
    pack: Callable[[bytes], bytes]


def _members(archive: bytes) -> Iterator[_Member]:
    """The members of an archive that say something, each to be damaged by itself."""
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        for info in found.infolist():
            if info.file_size > 8 and not info.filename.endswith(("byteorder", "version", ".data/serialization_id")):
                yield _Member(data=found.read(info), pack=_Rezipped(archive=archive, member=info.filename))


def damaged(data: bytes, rng: Any) -> tuple[str, bytes]:
    """What was done, and the damaged bytes: flipped bits, a cut, an insertion, a removal, a length field that lies."""
    how = str(rng.choice(["flips", "cut", "insertion", "removal", "lie", "lie", "zeros"]))
    n = len(data)
    buffer = bytearray(data)
    # headers are where lies are told: half of all damage falls into the first 512 bytes
    at = int(rng.integers(0, min(n, 512) if rng.random() < 0.5 else n))
    if how == "flips":
        for _ in range(int(rng.integers(1, 17))):
            place = int(rng.integers(0, 8 * n))
            buffer[place // 8] ^= 1 << (place % 8)
    elif how == "cut":
        del buffer[at:]
    elif how == "insertion":
        buffer[at:at] = rng.bytes(int(rng.integers(1, 65)))
    elif how == "removal":
        del buffer[at : at + int(rng.integers(1, 65))]
    elif how == "zeros":
        buffer[at : at + 64] = bytes(len(buffer[at : at + 64]))
    else:
        width = int(rng.choice([1, 2, 4, 8]))
        top = (1 << (8 * width)) - 1
        value = (
            int(rng.choice([0, 1, 2, 3, 4]))
            if rng.random() < 0.3
            else [top, top >> 1, (top >> 1) + 1, n, n + 1][int(rng.integers(5))] & top
        )
        buffer[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")
    return how, bytes(buffer)
