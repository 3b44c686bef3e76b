"""Files, models and stand-ins for the benchmarks of the engine: made anew, always the same."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 224
WIDE = 1024
SIDE = 64
_DIFFERENT = 16  # images made; the files repeat them

CLASSIFIER = """\
schema: evalsuite/model/1
name: densenet121-random
task: multilabel
inputs:
  - {{name: image, shape: [3, 224, 224], colour: RGB, convert_colour: replicate, source_range: [0, {top}]{resize}}}
outputs:
  - {{name: scores, meaning: logits, activation: sigmoid, classes: [a, b]}}
"""


SEGMENTER = """\
schema: evalsuite/model/1
name: unet-random
inputs:
  - {{name: image, shape: [1, {side}, {side}, {side}], frames: volume, orientation: RAS, spacing_mm: [1, 1, 1],
     source_range: [0, 1000]}}
outputs:
  - {{name: seg, meaning: mask, classes: [background, lesion]}}
"""


def grey(rng: Any, size: int) -> np.ndarray:
    """A bright shape on a dark ground with noise, as radiographs are; (size, size) within 0 to 1."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    shape = np.exp(-(((x - rng.uniform(-0.5, 0.5)) ** 2 + (y - rng.uniform(-0.5, 0.5)) ** 2) * 4))
    return np.clip(shape * 0.8 + 0.1 + rng.normal(0, 0.01, shape.shape), 0, 1)


def png_files(folder: Path, n: int, *, size: int = SIZE) -> list[Path]:
    """`n` RGB PNG files of 8 bits."""
    import cv2

    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(min(n, _DIFFERENT)):
        one = grey(rng, size)
        image = (np.stack([one, one**2, one**0.5], axis=-1) * 255).astype(np.uint8)
        encoded.append(cv2.imencode(".png", image)[1].tobytes())
    return _repeat(folder / f"png{size}", encoded, n, "png")


def jpegls_files(folder: Path, n: int, *, size: int = WIDE) -> list[Path]:
    """`n` DICOM files of 12 bits, compressed without loss by JPEG-LS."""
    rng = np.random.default_rng(1)
    return _repeat(folder / f"jpegls{size}", [dicom(grey(rng, size), i) for i in range(min(n, _DIFFERENT))], n, "dcm")


def nifti_files(folder: Path, n: int, *, side: int = SIDE) -> list[Path]:
    """`n` gzipped NIfTI volumes of 16 bits, 1 mm, in RAS orientation."""
    import nibabel

    rng = np.random.default_rng(2)
    contents = []
    for _ in range(min(n, 4)):
        volume = np.stack([grey(rng, side) for _ in range(side)], axis=-1)
        image = nibabel.Nifti1Image((volume * 1000).astype(np.int16), np.eye(4))
        contents.append(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
    return _repeat(folder / f"nifti{side}", contents, n, "nii.gz")


def _repeat(folder: Path, contents: list[bytes], n: int, ending: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i:06d}.{ending}" for i in range(n)]
    for i, path in enumerate(paths):
        if not path.exists():
            path.write_bytes(contents[i % len(contents)])
    return paths


def dicom(image: np.ndarray, number: int) -> bytes:
    """One DICOM file, JPEG-LS lossless."""
    import io

    import imagecodecs
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import DigitalXRayImageStorageForPresentation, JPEGLSLossless, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
    data.Modality, data.PhotometricInterpretation = "DX", "MONOCHROME2"
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 16, 12, 11, 0
    data.PixelData = encapsulate([imagecodecs.jpegls_encode((image * 4095).astype(np.uint16))])
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def densenet(folder: Path) -> Path:
    """DenseNet121 from MONAI with random weights, as a TorchScript package."""
    import torch
    from monai.networks.nets import DenseNet121

    package = folder / "densenet121.ts"
    if not package.exists():
        torch.manual_seed(0)
        network = DenseNet121(spatial_dims=2, in_channels=3, out_channels=2).eval()
        with torch.inference_mode():
            torch.jit.trace(network, torch.zeros(2, 3, SIZE, SIZE)).save(str(package))
    return package


def unet(folder: Path, *, side: int = SIDE) -> Path:
    """A 3-D U-Net from MONAI with random weights, as a TorchScript package."""
    import torch
    from monai.networks.nets import UNet

    package = folder / "unet.ts"
    if not package.exists():
        torch.manual_seed(0)
        network = UNet(
            spatial_dims=3, in_channels=1, out_channels=2, channels=(16, 32, 64, 128), strides=(2, 2, 2),
            num_res_units=2,
        ).eval()  # fmt: skip
        with torch.inference_mode():
            torch.jit.trace(network, torch.zeros(1, 1, side, side, side)).save(str(package))
    return package


def classifier_contract(folder: Path, *, top: int, resize: bool) -> Path:
    """Contract of the classifier for images from 0 to `top`, resized where they are larger."""
    path = folder / f"classifier-{top}.yaml"
    path.write_text(CLASSIFIER.format(top=top, resize=", resize: area" if resize else ""), encoding="utf-8")
    return path


def segmenter_contract(folder: Path, *, side: int = SIDE) -> Path:
    """Contract of the segmenter: volumes in RAS orientation, 1 mm, one mask."""
    path = folder / "segmenter.yaml"
    path.write_text(SEGMENTER.format(side=side), encoding="utf-8")
    return path


def testset_of(paths: list[Path]) -> Any:
    """A test set of one file per case, with the digests the decoded cache needs; a file may be of several cases."""
    import hashlib
    import os

    from evalsuite.testset.types import Case, LockedTestSet

    folder = paths[0].parent
    (folder / "location.json").write_text('{"schema": "evalsuite/location/1", "root": "."}', encoding="utf-8")
    cases = tuple(
        Case(
            case_id=f"{i:06d}", patient_id=path.name, study_id="", site="", acquired_at="", sample_weight=None,
            images={"image": (path,)},
        )
        for i, path in enumerate(paths)
    )  # fmt: skip
    # The content is not hashed here: the name stands in for it, so that every file has an entry of its own.
    files = [
        {"path": path.name, "size": os.path.getsize(path), "sha256": hashlib.sha256(path.name.encode()).hexdigest()}
        for path in dict.fromkeys(paths)
    ]
    return LockedTestSet(
        path=folder, lock={"copied": False, "files": files}, root="0" * 64, digest="0" * 64, set_id="benchmark",
        version="1", cases=cases, has_images=True,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A device that answers `rate` images/s without using the processor: what is missing to it, the pipeline lacks."""

    contract: Any
    rate: float
    name: str = "stand-in"
    format: str = "stand-in"
    digest: str = "d" * 64
    contract_digest: str = "c" * 64
    device: str = "cpu"

    def to(self, device: str) -> StandIn:
        return self

    def with_threads(self, threads: int) -> StandIn:
        return self

    def predict(self, batch: Any) -> dict[str, np.ndarray]:
        n = len(next(iter(batch.values())))
        if np.isfinite(self.rate):
            time.sleep(n / self.rate)
        return dict.fromkeys(self.contract.columns, np.full(n, 0.5))
