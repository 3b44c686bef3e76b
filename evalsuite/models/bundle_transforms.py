"""MONAI transforms the suite knows by name, translated into contract settings; everything else is named and refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evalsuite.errors import Problem
from evalsuite.models import bundle_volumes

_NO_CHANGE = {"EnsureChannelFirst", "EnsureType", "ToTensor", "AddChannel", "AsChannelFirst", "SaveImage", "SqueezeDim"}
_FLOATS = {"float32", "torch.float32", "np.float32", "numpy.float32"}


@dataclass(slots=True, kw_only=True)
class Translated:
    """Contract settings collected from a list of transforms, and what must be said about them."""

    present: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    discrete: bool = False
    scaled: bool = False


def translate_preprocessing(config: Mapping[str, Any], problems: list[Problem]) -> Translated:
    """Settings of an input (`InputSpec`) equal to the bundle's `preprocessing`."""
    done = Translated()
    _each(config, "preprocessing", _PRE, done, problems)
    if done.present and not done.scaled:
        done.settings["normalise"] = "none"  # the bundle hands stored values to the network
    return done


def translate_postprocessing(config: Mapping[str, Any], problems: list[Problem]) -> Translated:
    """Settings of an output (`OutputSpec`) equal to the bundle's `postprocessing`."""
    done = Translated()
    _each(config, "postprocessing", _POST, done, problems)
    return done


Step = Callable[[Mapping[str, Any], Translated], str | None]


def _each(
    config: Mapping[str, Any], section: str, known: Mapping[str, Step], done: Translated, problems: list[Problem]
) -> None:
    compose = resolve(config.get(section), config)
    if compose is None:
        return
    done.present = True
    transforms = resolve(compose.get("transforms"), config) if isinstance(compose, Mapping) else compose
    if not isinstance(transforms, list):
        problems.append(Problem(what="is not a list of transforms", where=section))
        return
    for i, raw in enumerate(transforms):
        where = f"{section}.transforms[{i}]"
        transform = resolve(raw, config)
        if not isinstance(transform, Mapping) or "_target_" not in transform:
            problems.append(Problem(what="is no transform with a _target_", where=where))
            continue
        full = str(transform["_target_"])
        name = _plain_name(full)
        arguments = {k: resolve(v, config) for k, v in transform.items() if k != "_target_"}
        off = arguments.pop("_disabled_", False)
        if name == "Invert" and transform.get("transform") == "@preprocessing":
            del arguments["transform"]  # what is inverted is what was translated
        if _expression(arguments) or _expression(off):
            problems.append(Problem(what=f"{full} needs a Python expression; the suite evaluates none", where=where))
        elif off is True:
            done.notes.append(f"{full} is disabled in the bundle.")
        elif name in _NO_CHANGE:
            continue
        elif name not in known:
            problems.append(Problem(what=f"transform {full} is not known to the suite", where=where))
        elif fault := known[name](arguments, done):
            problems.append(Problem(what=f"{full}: {fault}", where=where))


def _plain_name(target: str) -> str:
    name = target.rsplit(".", 1)[-1]
    for end in ("Dict", "d", "D"):
        if name.endswith(end) and name not in ("Threshold",) and len(name) > len(end):
            return name[: -len(end)]
    return name


def resolve(value: Any, config: Mapping[str, Any]) -> Any:
    """Follow `@name` and `%name` to a literal of the same file, at most a few steps."""
    for _ in range(8):
        if not (isinstance(value, str) and value[:1] in ("@", "%")):
            return value
        found: Any = config
        for part in value[1:].lstrip("#").replace("::", "#").split("#"):
            if isinstance(found, Mapping) and part in found:
                found = found[part]
            elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                return value
        value = found
    return value


def _expression(value: Any) -> bool:
    if isinstance(value, str):
        return value[:1] in ("$", "@", "%")
    if isinstance(value, Mapping):
        return "_target_" in value or any(_expression(v) for v in value.values())
    return isinstance(value, list) and any(_expression(v) for v in value)


def _load_image(arguments: Mapping[str, Any], done: Translated) -> str | None:
    unknown = set(arguments) - {
        "keys", "reader", "ensure_channel_first", "image_only", "dtype", "reverse_indexing", "allow_missing_keys",
        "simple_keys", "overwriting", "prune_meta_pattern",
    }  # fmt: skip
    if unknown:
        return f"argument {', '.join(sorted(unknown))} is not known to the suite"
    if str(arguments.get("dtype", "float32")) not in _FLOATS:
        return "dtype other than float32"
    # MONAI's readers give (columns, rows) unless told otherwise
    done.settings["transpose"] = arguments.get("reverse_indexing", True) is not False
    return None


def _transpose(arguments: Mapping[str, Any], done: Translated) -> str | None:
    indices = arguments.get("indices")
    if indices == [0, 2, 1]:
        done.settings["transpose"] = not done.settings.get("transpose", False)
        return None
    return None if indices == [0, 1, 2] else "indices other than [0, 2, 1]"


def _cast(arguments: Mapping[str, Any], done: Translated) -> str | None:
    return None if str(arguments.get("dtype", "float32")) in _FLOATS else "dtype other than float32"


def _scale_range(arguments: Mapping[str, Any], done: Translated) -> str | None:
    if done.scaled:
        return "a second scaling"
    low, high = arguments.get("a_min"), arguments.get("a_max")
    b_min, b_max = arguments.get("b_min"), arguments.get("b_max")
    if not all(isinstance(v, int | float) for v in (low, high)) or (b_min is None) != (b_max is None):
        return "a_min, a_max, b_min and b_max are numbers"
    done.scaled = True
    done.settings.update(
        normalise="linear",
        source_range=[low, high],
        value_range=[0.0, 1.0] if b_min is None else [b_min, b_max],
        clip=bool(arguments.get("clip", False)),
    )
    return None


def _scale(arguments: Mapping[str, Any], done: Translated) -> str | None:
    if done.scaled:
        return "a second scaling"
    if arguments.get("factor") is not None or arguments.get("channel_wise"):
        return "factor and channel_wise are not supported"
    done.scaled = True
    done.settings.update(normalise="minmax", value_range=[arguments.get("minv", 0.0), arguments.get("maxv", 1.0)])
    return None


def _normalise(arguments: Mapping[str, Any], done: Translated) -> str | None:
    if arguments.get("nonzero"):
        return "nonzero is not supported"
    mean, std = arguments.get("subtrahend"), arguments.get("divisor")
    if mean is None and std is None:
        if done.scaled or arguments.get("channel_wise"):
            return "after another scaling, or channel by channel, it is not supported"
        done.settings["normalise"] = "zscore"
    elif mean is None or std is None or "mean" in done.settings:
        return "subtrahend and divisor are given together, once"
    else:
        as_list = [v if isinstance(v, list) else [v] for v in (mean, std)]
        if not all(isinstance(x, int | float) for values in as_list for x in values):
            return "subtrahend and divisor are numbers, one per channel"
        done.settings.update(mean=as_list[0], std=as_list[1])
        if not done.scaled:
            done.settings["normalise"] = "none"
    done.scaled = True
    return None


def _activations(arguments: Mapping[str, Any], done: Translated) -> str | None:
    softmax, sigmoid = bool(arguments.get("softmax")), bool(arguments.get("sigmoid"))
    if arguments.get("other") is not None or (softmax and sigmoid) or "activation" in done.settings:
        return "one activation, softmax or sigmoid, is supported"
    if softmax or sigmoid:
        done.settings["activation"] = "softmax" if softmax else "sigmoid"
    return None


_PRE: Mapping[str, Step] = {
    "LoadImage": _load_image,
    "Transpose": _transpose,
    "CastToType": _cast,
    "ScaleIntensityRange": _scale_range,
    "ScaleIntensity": _scale,
    "NormalizeIntensity": _normalise,
    "Orientation": bundle_volumes.orientation,
    "Spacing": bundle_volumes.spacing,
}
_POST: Mapping[str, Step] = {
    "Activations": _activations,
    "AsDiscrete": bundle_volumes.as_discrete,
    "Invert": bundle_volumes.invert,
}
