"""Reading images: PNG, JPEG, TIFF and DICOM become arrays (channel, row, column), or an error that says why not."""

from __future__ import annotations

from pathlib import Path

from evalsuite.errors import ImageError
from evalsuite.imaging.image import Image, ImageSpec, Window

__all__ = ["Image", "ImageError", "ImageSpec", "Window", "read_image"]


def read_image(path: Path, *, frame: int | None = None, window: Window = None, spec: ImageSpec | None = None) -> Image:
    """Decode one image file.

    Parameters
    ----------
    path
        A PNG, JPEG, TIFF or DICOM file; which one is decided by its content, not by its name.
    frame
        Index from 0 of the frame to use where a file holds several; without it such a file is refused.
    window
        How DICOM grey values are displayed: see `Window`. Raster images have no window; asking for one is an error.
    spec
        Gives `frame` and `window` together, for instance a model contract's input.

    Raises
    ------
    ImageError
        With `code` unreadable, truncated, transfer_syntax, multiframe, photometric, channels, empty, window, not_image
        or series. The message names the file, never a value of its header.
    """
    if spec is not None:
        frame, window = spec.frame, spec.window
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path.name} is a folder; one image file per case is expected", code="series")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path.name} cannot be read: {error.strerror or 'input/output error'}") from None
    if not data:
        raise ImageError(f"{path.name} is empty", code="empty")
    if data[128:132] == b"DICM":
        from evalsuite.imaging import dicom

        image: Image = dicom.decode(data, name=path.name, frame=frame, window=window)
        return image
    from evalsuite.imaging import raster

    return raster.decode(data, name=path.name, frame=frame, window=window)
