"""What the head of a plain PNG file says, read in microseconds; anything out of the ordinary is left to Pillow."""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: (bits, colour type) → Pillow's word for it: grey and red-green-blue, without palette and without transparency.
_MODES = {(8, 0): "L", (8, 2): "RGB", (16, 0): "I;16", (16, 2): "RGB"}
#: Chunks before the pixels that say nothing about what the pixels are, where they lie or how many frames there are.
_HARMLESS = frozenset((b"sRGB", b"gAMA", b"pHYs"))
_MOST = 8


def plain_png(data: bytes) -> str | None:
    """Pillow's mode of a PNG file with one frame, without palette, transparency or EXIF; None where it is not one.

    Every chunk up to the first of the pixels is compared with its checksum. What follows the pixels is not looked at.
    """
    if not data.startswith(_SIGNATURE):
        return None
    at, mode = len(_SIGNATURE), None
    for _ in range(_MOST):
        kind = data[at + 4 : at + 8]
        if kind == b"IDAT":
            return mode
        if (kind == b"IHDR") != (mode is None) or (mode is not None and kind not in _HARMLESS):
            return None
        (size,) = struct.unpack(">I", data[at : at + 4])
        end = at + 8 + size
        if len(data) < end + 4 or zlib.crc32(data[at + 4 : end]) != struct.unpack(">I", data[end : end + 4])[0]:
            return None
        if kind == b"IHDR":
            if size != 13:
                return None
            bits, colour, compression, filtering, interlaced = data[at + 16 : at + 21]
            mode = _MODES.get((bits, colour)) if not (compression or filtering or interlaced) else None
            if mode is None or data[at + 8 : at + 12] == bytes(4) or data[at + 12 : at + 16] == bytes(4):
                return None
        at = end + 4
    return None
