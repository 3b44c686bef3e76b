"""Options that belong together are declared once, as the fields of a dataclass, and given to a verb as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with every parameter that is a dataclass laid out as the options its fields declare.

    A field `device: Annotated[str | None, typer.Option("--device")] = None` becomes that option of the verb; the verb
    is called with the dataclass. Two groups, or a group and the verb, cannot share a name.
    """
    hints = get_type_hints(verb, include_extras=True)
    groups: dict[str, type[Any]] = {}
    laid_out: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb).parameters.values():
        said = hints[parameter.name]
        if isinstance(said, type) and is_dataclass(said):
            groups[parameter.name] = said
            laid_out += _options_of(said)
        else:
            laid_out.append(parameter.replace(annotation=said, kind=inspect.Parameter.KEYWORD_ONLY))
    signature = inspect.Signature(laid_out, return_annotation=hints["return"])

    @functools.wraps(verb)
    def called(**given: Any) -> None:
        values = dict(given)
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in fields(group)})
        verb(**values)

    del called.__wrapped__
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in laid_out} | {"return": hints["return"]}
    return called


def _options_of(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=_default(f), annotation=hints[f.name])
        for f in fields(group)
    ]


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default
