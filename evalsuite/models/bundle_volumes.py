"""What MONAI bundles declare for volumes, in the words of a contract: orientation, spacing, windows, masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evalsuite.errors import Problem
from evalsuite.imaging.grid import is_orientation

if TYPE_CHECKING:
    from evalsuite.models.bundle_transforms import Translated

_BILINEAR, _NEAREST = {"bilinear", "1", "linear"}, {"nearest", "0"}
_SAME_SPACING = 0.001  # MONAI resamples whatever differs by more
_PLAIN_INFERERS = {"SimpleInferer"}


def orientation(arguments: Mapping[str, Any], done: Translated) -> str | None:
    """`Orientation`: axes turned to the named sides."""
    unknown = set(arguments) - {"keys", "axcodes", "as_closest_canonical", "labels", "allow_missing_keys", "lazy"}
    if unknown or arguments.get("labels") is not None:
        return f"argument {', '.join(sorted(unknown or {'labels'}))} is not known to the suite"
    codes = "RAS" if arguments.get("as_closest_canonical") else str(arguments.get("axcodes", ""))
    if not is_orientation(codes):
        return "axcodes is three letters such as RAS"
    if "spacing_mm" in done.settings:
        return "it comes after Spacing; the suite turns axes first"
    done.settings["orientation"] = codes
    return None


def spacing(arguments: Mapping[str, Any], done: Translated) -> str | None:
    """`Spacing`: interpolated to a distance of voxels, the first one staying put."""
    known = {"keys", "pixdim", "mode", "padding_mode", "align_corners", "dtype", "allow_missing_keys", "diagonal",
             "scale_extent", "recompute_affine", "lazy", "ensure_same_shape"}  # fmt: skip
    unknown = set(arguments) - known
    if unknown:
        return f"argument {', '.join(sorted(unknown))} is not known to the suite"
    if any(arguments.get(k) for k in ("align_corners", "diagonal", "scale_extent", "recompute_affine")):
        return "align_corners, diagonal, scale_extent and recompute_affine are not supported"
    if str(arguments.get("padding_mode", "border")) != "border":
        return "padding_mode other than border"
    pixdim = arguments.get("pixdim")
    if not isinstance(pixdim, list) or len(pixdim) != 3 or not all(_positive(v) for v in pixdim):
        return "pixdim is three positive numbers"
    mode = arguments.get("mode", "bilinear")
    mode = str(mode[0] if isinstance(mode, list) and mode else mode).lower()
    if mode not in _BILINEAR | _NEAREST:
        return "mode other than bilinear and nearest"
    if "spacing_mm" in done.settings:
        return "a second resampling"
    if "orientation" not in done.settings:
        return "it comes before Orientation, so that its distances are along axes nobody knows"
    method = "linear" if mode in _BILINEAR else "nearest"
    done.settings.update(spacing_mm=pixdim, resample=method, spacing_tolerance=_SAME_SPACING)
    return None


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def invert(arguments: Mapping[str, Any], done: Translated) -> str | None:
    """`Invert`: back to the stored grid, which the suite does with labels, by the nearest voxel."""
    nearest = arguments.get("nearest_interp", True)
    done.settings["inverted"] = "nearest" if done.settings.get("decision") or nearest is True else "interpolated"
    return None


def as_discrete(arguments: Mapping[str, Any], done: Translated) -> str | None:
    """`AsDiscrete`: from channels to labels."""
    unknown = set(arguments) - {"keys", "argmax", "threshold", "allow_missing_keys", "rounding", "to_onehot", "dim"}
    if unknown or any(arguments.get(k) is not None for k in ("rounding", "to_onehot")):
        return "only argmax or a threshold is supported"
    argmax, threshold = arguments.get("argmax"), arguments.get("threshold")
    done.discrete = True
    if isinstance(argmax, bool) and argmax and threshold is None:
        done.settings["decision"] = "argmax"
    elif isinstance(threshold, int | float) and not isinstance(threshold, bool) and not argmax:
        done.settings.update(decision="threshold", threshold=float(threshold))
    return None


def sliding_window(inference: Mapping[str, Any], resolve: Any, problems: list[Problem]) -> dict[str, Any] | None:
    """The contract's `sliding_window` of a bundle's `inferer`; None where the network sees the whole image."""
    inferer = inference.get("inferer")
    if not isinstance(inferer, Mapping):
        return None
    name = str(inferer.get("_target_", "")).rsplit(".", 1)[-1]
    if name in _PLAIN_INFERERS:
        return None
    arguments = {k: resolve(v) for k, v in inferer.items() if k not in ("_target_", "device", "sw_device", "progress")}
    known = {
        "roi_size",
        "sw_batch_size",
        "overlap",
        "mode",
        "sigma_scale",
        "padding_mode",
        "cval",
        "cache_roi_weight_map",
    }
    unknown = set(arguments) - known
    if name != "SlidingWindowInferer" or unknown:
        what = (
            f"inferer {name}" if name != "SlidingWindowInferer" else f"argument {', '.join(sorted(unknown))} of {name}"
        )
        problems.append(Problem(what=f"{what} is not supported", where="inferer"))
        return None
    roi, mode = arguments.get("roi_size"), str(arguments.get("mode", "constant")).lower()
    plain = str(arguments.get("padding_mode", "constant")).lower() == "constant" and not arguments.get("cval")
    whole = isinstance(roi, list) and all(isinstance(n, int) and n > 0 for n in roi)
    numbers = all(
        _positive(arguments.get(k, 1)) or arguments.get(k) == 0 for k in ("sw_batch_size", "overlap", "sigma_scale")
    )
    if not whole or mode not in ("constant", "gaussian") or not plain or not numbers:
        what = "roi_size is whole numbers, mode constant or gaussian, padding constant with zeros"
        problems.append(Problem(what=what, where="inferer"))
        return None
    found: dict[str, Any] = {"roi": roi, "mode": mode}
    for ours, theirs in (("batch", "sw_batch_size"), ("overlap", "overlap"), ("sigma_scale", "sigma_scale")):
        if theirs in arguments:
            found[ours] = arguments[theirs]
    return found


def mask_output(
    name: str, classes: list[str], post: Mapping[str, Any], resampled: bool, problems: list[Problem]
) -> dict[str, Any]:
    """An output that is a mask, decided as the bundle's postprocessing says."""
    if resampled and post.get("inverted") == "interpolated":
        problems.append(
            Problem(
                what="Invert interpolates probabilities back to the stored grid before they become labels; the suite "
                "takes the nearest label",
                where="postprocessing",
                hint="Set nearest_interp, or give a contract that says so.",
            )
        )
    kept = {k: post[k] for k in ("activation", "decision", "threshold") if k in post}
    return {"name": name, "meaning": "mask", "classes": classes, **kept}
