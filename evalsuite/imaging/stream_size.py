"""How large a compressed frame says it is, read before any of it is decoded.

A decoder believes this size: it reserves the memory for it, and some loop for hours where it is absurd. So it is
compared with the DICOM header first, and decoding begins only where the two agree.
"""

from __future__ import annotations

import struct

_SOF = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xF7))  # the frame headers of baseline, extended, progressive, lossless, LS
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_SCAN = 0xDA


def jpeg_size(data: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) of a JPEG or JPEG-LS stream (ISO 10918-1 B.2.2, ISO 14495-1 C.2.2).

    None where no frame header comes before the first scan.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        if marker == _SCAN:
            return None
        if marker in _SOF:
            if at + 10 > len(data):
                return None
            rows, columns, components = struct.unpack(">HHB", data[at + 5 : at + 10])
            return rows, columns, components
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def jpeg2000_size(data: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) of a JPEG 2000 codestream, HT included (ISO 15444-1 A.5.1).

    None where the stream does not begin with a size that makes sense: the image and its tiles begin inside the
    reference grid, and no component is subsampled.
    """
    at = data.find(b"\xff\x4f\xff\x51", 0, 256)
    if at < 0 or at + 42 > len(data):
        return None
    length, _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack(
        ">HH8IH", data[at + 4 : at + 42]
    )
    separations = data[at + 42 : at + 42 + 3 * components]
    plausible = (
        length == 38 + 3 * components
        and left < right
        and top < bottom
        and tile_width > 0
        and tile_height > 0
        and tile_left <= left < tile_left + tile_width
        and tile_top <= top < tile_top + tile_height
        and len(separations) == 3 * components
        and all(separations[3 * i + 1 : 3 * i + 3] == b"\x01\x01" for i in range(components))
    )
    return (bottom - top, right - left, components) if plausible else None
