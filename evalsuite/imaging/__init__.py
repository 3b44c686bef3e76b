"""Reading images: PNG, JPEG, TIFF, DICOM and NIfTI become arrays (channel, *spatial), or an error that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalsuite.errors import ImageError
from evalsuite.imaging.grid import Grid
from evalsuite.imaging.image import Frames, Image, ImageSpec, Window
from evalsuite.record.files import read_whole

__all__ = ["Frames", "Grid", "Image", "ImageError", "ImageSpec", "Window", "read_files", "read_image"]


def read_image(path: Path, *, frame: int | None = None, window: Window = None, spec: ImageSpec | None = None) -> Image:
    """Decode one image file.

    Parameters
    ----------
    path
        A PNG, JPEG, TIFF, DICOM or NIfTI file; which one is decided by its content, not by its name.
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
    data = _bytes(path)
    if data[128:132] == b"DICM":
        from evalsuite.imaging import dicom

        image: Image = dicom.decode(data, name=path.name, frame=frame, window=window)
        return image
    from evalsuite.imaging import raster

    if not raster.is_raster(data):
        from evalsuite.imaging import nifti

        if nifti.is_nifti(data):
            _no_window(path, window)
            return nifti.decode(data, name=path.name)
    return raster.decode(data, name=path.name, frame=frame, window=window)


def read_files(paths: Sequence[Path], *, spec: ImageSpec, name: str) -> Image:
    """Decode the file or files of one image of a case, as `spec.layout` says what several frames or files are.

    Parameters
    ----------
    paths
        One file, or the files of a DICOM series.
    spec
        Frame, layout and window: a model contract's input.
    name
        What messages call the image where it is not one file.

    Raises
    ------
    ImageError
        As `read_image`, and code gaps, duplicates, mixed orientations, uneven, sheared, series or several files.
    """
    if spec.layout == "one" or not paths:
        if len(paths) != 1:
            code = "no image" if not paths else "several files"
            raise ImageError(f"{name} has {len(paths)} files, 1 expected", code=code)
        return read_image(paths[0], spec=spec)
    from evalsuite.imaging import raster, volume

    if len(paths) > 1:
        if spec.layout == "volume":
            return volume.volume_of_series(paths, name=name, window=spec.window)
        return volume.stack_images([read_image(path, spec=spec) for path in paths], name)
    path = paths[0]
    data = _bytes(path)
    if data[128:132] == b"DICM":
        make = volume.volume_of_frames if spec.layout == "volume" else volume.stack_of_frames
        return make(data, name=path.name, window=spec.window)
    if spec.layout == "stack" and raster.is_raster(data):
        return volume.stack_images(raster.decode_pages(data, name=path.name, window=spec.window), path.name)
    return read_image(path, spec=spec)


def _bytes(path: Path) -> bytes:
    try:
        data: bytes | None = read_whole(path)
    except IsADirectoryError:
        data = None
    except OSError as error:
        raise ImageError(f"{path.name} cannot be read: {error.strerror or 'input/output error'}") from None
    if data is None:  # a fault of the case table, not of the disk: the error has no cause
        raise ImageError(f"{path.name} is a folder; one image file per case is expected", code="series")
    if not data:
        raise ImageError(f"{path.name} is empty", code="empty")
    return data


def _no_window(path: Path, window: Window) -> None:
    if window not in (None, "none"):
        raise ImageError(f"{path.name} is not DICOM and has no window", code="window", hint="Set window: none.")
