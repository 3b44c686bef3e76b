"""The display window of DICOM: measured values become brightness from 0 to 1.

Source: DICOM PS3.3 C.11.2 (VOI LUT): LINEAR, LINEAR_EXACT, SIGMOID, and look-up tables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from evalsuite.errors import ImageError
from evalsuite.imaging.image import Window


def apply_window(measured: NDArray[np.float32], voi: Dataset, window: Window, *, name: str) -> NDArray[np.float32]:
    """Brightness 0..1 of rescaled values.

    Parameters
    ----------
    voi
        Dataset or functional group with the header's window and look-up table; only read for `window` "header", where a
        look-up table goes before a window and the first of several windows is used.
    window
        "header", or (center, width) of a LINEAR window.

    Raises
    ------
    ImageError
        code window: the header has none, or one without positive width.
    """
    values = measured.astype(np.float64)
    if window == "header":
        if voi.get("VOILUTSequence"):
            return _table(values, voi.VOILUTSequence[0])
        if "WindowCenter" not in voi or "WindowWidth" not in voi:
            raise ImageError(f"{name} states no window", code="window", hint="Set window: none, or [center, width].")
        center, width = _first(voi.WindowCenter), _first(voi.WindowWidth)
        function = str(voi.get("VOILUTFunction") or "LINEAR").upper()
    elif isinstance(window, tuple | list):
        (center, width), function = window, "LINEAR"
    else:
        raise ValueError(f"window is none, header or (center, width), not {window!r}")
    if width < 1 if function == "LINEAR" else width <= 0:
        raise ImageError(f"{name} states a window without width", code="window")
    if function == "SIGMOID":
        shown = 1.0 / (1.0 + np.exp(-4.0 * (values - center) / width))
    elif function == "LINEAR_EXACT":
        shown = (values - center) / width + 0.5
    elif function == "LINEAR":
        # C.11.2.1.2.1; a width of 1 is a threshold at center - 0.5
        low = center - 0.5 - (width - 1.0) / 2.0
        shown = (values - low) / (width - 1.0) if width > 1 else (values > low).astype(np.float64)
    else:
        raise ImageError(f"{name} states a window function that is not supported", code="window")
    return np.clip(shown, 0.0, 1.0).astype(np.float32)


def _first(value: object) -> float:
    return float(value[0] if isinstance(value, MultiValue | list | tuple) else value)  # type: ignore[arg-type]


def _table(values: NDArray[np.float64], item: Dataset) -> NDArray[np.float32]:
    n_entries, first, bits = (int(v) for v in item.LUTDescriptor)
    n_entries = n_entries or 65536
    if first > 32767 and values.min() < 0:
        first -= 65536  # the descriptor is unsigned or signed like the values it maps
    raw = item["LUTData"].value
    if isinstance(raw, bytes):
        entries = np.frombuffer(raw, dtype="<u1" if bits <= 8 and len(raw) < 2 * n_entries else "<u2")
    else:
        entries = np.asarray(raw)
    entries = entries[:n_entries].astype(np.float64)
    index = np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.int64)
    shown: NDArray[np.float32] = (entries[index] / float((1 << bits) - 1)).astype(np.float32)
    return shown
