"""NIfTI volumes: the stored voxels, their spacing, and how they lie in the patient, or an error that says why not.

Source: the NIfTI-1 and NIfTI-2 headers (nifti1.h, nifti2.h). The header is read by nibabel; the voxels are a view of
the bytes. Compressed files are expanded no further than the header says, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import io
from typing import Any

import nibabel
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid, as_affine, is_regular, orientation_of, shear_degrees, spacing_of
from evalsuite.imaging.image import Image
from evalsuite.imaging.quiet import counted_warnings

_GZIP = b"\x1f\x8b"
_HEAD = 1024
_SLACK = 1 << 20  # bytes behind the voxels that are taken for padding
LARGEST_BYTES = 8 << 30
_MILLIMETRES = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}  # xyzt_units: unknown (taken as mm), metre, mm, micron
_SPACING_TOLERANCE = 0.01
_MOST_SHEAR_DEGREES = 1.0
_INTEGERS = (np.uint8, np.int16, np.uint16)


def is_nifti(data: bytes) -> bool:
    """Whether the first bytes of a file are a NIfTI header, compressed or not."""
    head = _expand(data[: 4 * _HEAD], _HEAD)[0] if data[:2] == _GZIP else data[:_HEAD]
    return _class_of(head) is not None


def _class_of(head: bytes) -> Any:
    if head[344:348] == b"n+1\0":
        return nibabel.Nifti1Header
    if head[4:8] == b"n+2\0":
        return nibabel.Nifti2Header
    return None


def decode(data: bytes, *, name: str) -> Image:
    """Decode one NIfTI file held in memory.

    Returns
    -------
    Image
        `array` (channel, i, j, k), in the order in which the file stores its axes; a fourth dimension (time, modality,
        direction) becomes channels. Integers of 8 and 16 bits stay as stored where no scaling is declared, everything
        else is float32 with the scaling applied. `full_range` is None: the values have no natural range.

    Raises
    ------
    ImageError
        code unreadable, truncated, channels, size, spacing, orientation (the header contradicts itself).
    """
    with counted_warnings() as n_warnings:
        try:
            image = _decode(data, name)
        except ImageError:
            raise
        except Exception:  # nibabel raises a dozen types on damaged headers, and its messages quote them
            raise ImageError(f"{name} cannot be decoded: damaged or inconsistent NIfTI") from None
    if not n_warnings[0]:
        return image
    return Image(
        array=image.array,
        full_range=None,
        kind="nifti",
        spacing_mm=image.spacing_mm,
        attributes=image.attributes,
        affine=image.affine,
        notes=(*image.notes, "the NIfTI reader found values that do not follow the standard"),
    )


def _decode(data: bytes, name: str) -> Image:
    packed = data[:2] == _GZIP
    head = _expand(data, _HEAD)[0] if packed else data[:_HEAD]
    kind = _class_of(head)
    if kind is None:
        raise ImageError(f"{name} is not a single-file NIfTI (.nii, .nii.gz)")
    # Level 50: nothing is repaired silently, what is wrong raises.
    header = kind.from_fileobj(io.BytesIO(head[: kind.sizeof_hdr] + b"\0" * 4), check=False)
    shape, dtype = _shape(header, name), header.get_data_dtype()
    offset = int(header["vox_offset"])
    count = int(np.prod(shape, dtype=object))
    need = offset + count * dtype.itemsize
    if offset < kind.sizeof_hdr or not count:
        raise ImageError(f"{name} states no voxels, or a place for them inside its header")
    if need > LARGEST_BYTES:
        raise ImageError(f"{name} states {need / 2**30:.0f} GiB of voxels; at most 8 are read", code="size")
    if packed:
        data, whole = _expand(data, need + _SLACK)
        if not whole and len(data) >= need:
            raise ImageError(f"{name} is cut off, or holds more than its header says", code="truncated")
    if len(data) < need:
        raise ImageError(f"{name} is truncated: fewer voxels than its header says", code="truncated")
    if len(data) > need + _SLACK:
        raise ImageError(f"{name} holds more than its header says")
    stored: NDArray[Any] = np.frombuffer(data, dtype=dtype, count=count, offset=offset)
    array = _values(stored.reshape(shape, order="F"), header, name)
    spacing, affine, notes = _place(header, name)
    attributes = {"bits": str(dtype.itemsize * 8), "nifti": "2" if kind is nibabel.Nifti2Header else "1"}
    return Image(
        array=array,
        full_range=None,
        kind="nifti",
        spacing_mm=spacing,
        attributes=attributes,
        affine=affine,
        notes=notes,
    )


def _expand(data: bytes, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of a gzip stream, and whether it ended there as it should (all members, checksums)."""
    parts: list[bytes] = []
    size = 0
    while data and size < limit:
        stream = isal_zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(data, limit - size)
        except isal_zlib.error:  # type: ignore[misc]
            return b"".join(parts), False
        parts.append(part)
        size += len(part)
        if not stream.eof:
            return b"".join(parts), False
        data = stream.unused_data
        if not data.startswith(_GZIP):  # padding behind the last member
            data = b""
    return b"".join(parts), not data


def grid_of_header(header: Any, name: str) -> Grid:
    """The grid a header states. ImageError where it states none, as `decode`."""
    spacing, affine, _ = _place(header, name)
    return Grid(shape=_shape(header, name)[:3], spacing_mm=spacing, affine=affine)


def _shape(header: Any, name: str) -> tuple[int, ...]:
    n = int(header["dim"][0])
    if not 1 <= n <= 7:
        raise ImageError(f"{name} has a header that is damaged, or of the other byte order") from None
    sizes = [int(v) for v in header["dim"][1 : n + 1]]
    if any(v < 1 for v in sizes):
        raise ImageError(f"{name} states an axis without voxels")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) == 5 and sizes[3] == 1:  # vectors: the fifth dimension, with a fourth of one
        sizes.pop(3)
    sizes += [1] * (3 - len(sizes))
    if len(sizes) > 4:
        raise ImageError(f"{name} has {len(sizes)} dimensions; at most 4 are read", code="channels")
    return tuple(sizes)


def _values(stored: NDArray[Any], header: Any, name: str) -> NDArray[np.generic]:
    slope, intercept = (float(header[k]) for k in ("scl_slope", "scl_inter"))
    scaled = np.isfinite(slope) and slope != 0 and np.isfinite(intercept) and (slope, intercept) != (1.0, 0.0)
    if stored.dtype.names is not None:
        if stored.dtype.names != ("R", "G", "B") or stored.ndim > 3:
            raise ImageError(f"{name} holds colours with transparency, or several volumes of colours", code="channels")
        return np.stack([stored[c] for c in stored.dtype.names])
    if stored.dtype.kind not in "iuf" or stored.dtype.itemsize > 8:
        raise ImageError(f"{name} holds values of a kind that is not supported (complex or of 128 bits)")
    array = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    array = array[np.newaxis] if array.ndim == 3 else np.moveaxis(array, 3, 0)
    if scaled:
        return (array.astype(np.float64) * slope + intercept).astype(np.float32)
    return array if array.dtype in _INTEGERS else array.astype(np.float32)


def _place(header: Any, name: str) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...] | None, tuple[str, ...]]:
    """Spacing, affine (None where the file states no orientation) and notes.

    The sform goes before the qform, as in every reader. Where both are stated and name other sides of the patient or
    other distances, nobody can know which one is meant: that is an error, not a choice.
    """
    code = int(header["xyzt_units"]) & 7 if 0 <= int(header["xyzt_units"]) <= 255 else 0
    scale = _MILLIMETRES.get(code, 1.0)
    stated = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64)) * scale
    notes = () if code else ("the unit of length is not stated and taken as millimetres",)
    found = []
    if int(header["sform_code"]) > 0:
        found.append(np.asarray(header.get_sform(), dtype=np.float64))
    if int(header["qform_code"]) > 0:
        found.append(np.asarray(header.get_qform(), dtype=np.float64))
    matrices = [np.diag([scale, scale, scale, 1.0]) @ m for m in found]
    if any(not is_regular(m) for m in matrices):
        raise ImageError(f"{name} states a place in the patient that is none (singular or not finite)", code="spacing")
    if not matrices:
        if not (np.isfinite(stated).all() and (stated > 0).all()):
            raise ImageError(f"{name} states no distance of its voxels", code="spacing")
        return tuple(stated.tolist()), None, (*notes, "the file does not state how it lies in the patient")
    if len({orientation_of(m) for m in matrices}) > 1:
        raise ImageError(
            f"{name} contradicts itself: sform and qform name other sides of the patient", code="orientation"
        )
    lengths = [np.asarray(spacing_of(m)) for m in matrices]
    stated_too = [stated] if np.isfinite(stated).all() and (stated > 0).all() else []
    if any((np.abs(s - lengths[0]) > _SPACING_TOLERANCE * lengths[0]).any() for s in (*lengths[1:], *stated_too)):
        raise ImageError(f"{name} contradicts itself: its header states two distances of its voxels", code="spacing")
    if shear_degrees(matrices[0]) > _MOST_SHEAR_DEGREES:
        raise ImageError(
            f"{name} has axes that are not at right angles",
            code="sheared",
            hint="Resample it onto a rectangular grid before the test set is locked.",
        )
    return tuple(lengths[0].tolist()), as_affine(matrices[0]), notes
