"""PNG, JPEG and TIFF: the stored pixels, grey stays grey, colours come as red, green, blue.

Pixels are taken as stored: an EXIF orientation is not applied (training pipelines rarely do), and a note says so.
Transparency is refused, because dropping it or blending it would be a choice nobody made.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from evalsuite.errors import ImageError
from evalsuite.imaging.image import Image, Window
from evalsuite.imaging.png_header import plain_png
from evalsuite.imaging.quiet import counted_warnings

_GREY = {"1", "L", "I;16", "I;16B", "I;16L", "I;16N", "I"}
_COLOUR = {"RGB", "P"}
_LARGE = 1 << 27
_EXIF_ORIENTATION = 0x0112


_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_raster(data: bytes) -> bool:
    """Whether a file begins like a PNG, JPEG or TIFF."""
    return data.startswith(_MAGIC)


def is_tiff(data: bytes) -> bool:
    """Whether a file begins like a TIFF."""
    return data.startswith(_MAGIC[2:])


def is_large(data: bytes) -> bool:
    """Whether a raster image is larger than is decoded as a whole (2^27 pixels): a slide, most likely."""
    try:
        with counted_warnings(), Pillow.open(io.BytesIO(data)) as header:
            return bool(header.width * header.height > _LARGE)
    except Pillow.DecompressionBombError:
        return True
    except Exception:  # damaged: decoding says so
        return False


def decode(data: bytes, *, name: str, frame: int | None = None, window: Window = None) -> Image:
    """Decode one raster image held in memory. See `evalsuite.imaging.read_image`."""
    _, n_frames, _ = header = _checked(data, name, window)
    index = _frame_index(n_frames, frame, name)
    return _image(_pixels(data, index, name), header, name)


def decode_pages(data: bytes, *, name: str, window: Window = None) -> list[Image]:
    """Decode every page of a raster image held in memory, in the order of the file."""
    _, n_frames, _ = header = _checked(data, name, window)
    if n_frames == 1:
        return [_image(_pixels(data, 0, name), header, name)]
    return [_image(pixels, header, name) for pixels in _pages(data, n_frames, name)]


def _checked(data: bytes, name: str, window: Window) -> tuple[str, int, bool]:
    """Mode, number of pages and whether an EXIF rotation is stated, of a file that may be decoded."""
    if window not in (None, "none"):
        raise ImageError(f"{name} is not DICOM and has no window", code="window", hint="Set window: none.")
    mode, n_frames, rotated = _header(data, name)
    if mode not in _GREY | _COLOUR:
        raise ImageError(
            f"{name} is stored as {mode}; grey or red-green-blue without transparency is expected", code="channels"
        )
    if data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        # Decoders fill what is missing with grey; neither marker can occur inside the compressed data.
        raise ImageError(f"{name} is truncated: the end-of-image marker is missing", code="truncated")
    return mode, n_frames, rotated


def _image(pixels: NDArray[np.generic], header: tuple[str, int, bool], name: str) -> Image:
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        # a palette, or a colour file: OpenCV orders blue, green, red
        array = np.empty((3, *pixels.shape[:2]), pixels.dtype)
        cv2.split(pixels, [array[2], array[1], array[0]])
        photometric = "RGB"
    elif pixels.ndim == 2:
        array, photometric = pixels[np.newaxis], "MONOCHROME2"
    else:
        raise ImageError(f"{name} has {pixels.shape[-1]} channels; 1 or 3 are expected", code="channels")
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name} holds {array.dtype} pixels; 8 or 16 bits are expected", code="unreadable")
    return Image(
        array=array,
        full_range=(0.0, 255.0 if array.dtype == np.uint8 else 65535.0),
        kind="raster",
        photometric=photometric,
        attributes={"photometric": photometric, "bits": str(array.dtype.itemsize * 8)},
        notes=("EXIF orientation present and not applied",) if header[2] else (),
    )


def _header(data: bytes, name: str) -> tuple[str, int, bool]:
    if (plain := plain_png(data)) is not None:
        return plain, 1, False
    try:
        with Pillow.open(io.BytesIO(data)) as header:
            rotated = b"Exif" in data[:65536] and header.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1)
            transparent = "transparency" in header.info
            mode = f"{header.mode} with transparency" if transparent else header.mode
            return mode, int(getattr(header, "n_frames", 1)), bool(rotated)
    except Exception:  # Pillow raises a dozen types on damaged input; all mean the same to a reader
        raise ImageError(f"{name} is not a readable PNG, JPEG, TIFF or DICOM file") from None


def _frame_index(n_frames: int, frame: int | None, name: str) -> int:
    if n_frames > 1 and frame is None:
        raise ImageError(
            f"{name} holds {n_frames} frames", code="multiframe", hint="Name one in the model's contract: frame: 0"
        )
    if frame is not None and not 0 <= frame < n_frames:
        raise ImageError(f"{name} has no frame {frame}: it holds {n_frames}", code="multiframe")
    return frame or 0


def _pixels(data: bytes, index: int, name: str) -> NDArray[np.generic]:
    buffer = np.frombuffer(data, dtype=np.uint8)
    try:
        pixels = _pages(data, index + 1, name)[index] if index else cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or not pixels.size:
        raise ImageError(f"{name} cannot be decoded: damaged or truncated", code="truncated")
    return np.asarray(pixels)


def _pages(data: bytes, at_least: int, name: str) -> list[NDArray[np.generic]]:
    try:
        found, pages = cv2.imdecodemulti(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        found, pages = False, ()
    if not found or len(pages) < at_least or any(page is None or not page.size for page in pages):
        raise ImageError(f"{name} cannot be decoded: damaged or truncated", code="truncated")
    return [np.asarray(page) for page in pages]
