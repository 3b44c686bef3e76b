"""The field reference of a protocol, written from the schema itself so that the two cannot differ."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from evalsuite.protocol.load import load_protocol, shipped_protocols
from evalsuite.protocol.metrics import METRICS, MetricInfo
from evalsuite.protocol.schema import StudyProtocol

_INTRODUCTION = """\
# Protocols

A protocol says, before anyone looks, what a study asks and what counts as an answer. One YAML file; `evalsuite run`
takes its path, or the name of one shipped here. Copy one, replace its goals by values your intended use justifies, and
freeze it before unblinding: `evalsuite init DIR --from NAME`.

This page is written from the schema by `python -m evalsuite.protocol.reference > protocols/README.md`; a test keeps it
current. The JSON Schema is `evalsuite schema protocol`.
"""

_RULES = """\
## What the loader also checks

Every problem of a file is reported at once, each with its path and a hint. Beyond the form of single fields:

- Names of operating points, endpoints and strata are unique, and every use of one names an existing one. Nothing is
  guessed: a metric that needs an operating point says which, even where there is only one.
- Every primary endpoint has a criterion, and there is at least one.
- A criterion on a point estimate has a `justification`; so has a one-sided alpha above 0.025 (a two-sided level below
  0.95, a one-sided one below 0.975).
- A lower bound is compared with `>` or `>=`, an upper one with `<` or `<=`: the other way round nothing is shown. A
  goal lies within the metric's range.
- `any_primary` with several primary endpoints has a multiplicity method; a fixed sequence and gatekeeping have an
  order.
- A comparison names a metric of which paired differences are estimated. Hypothesis and margin mean: superiority, a
  lower bound above the margin; non-inferiority, a lower bound above minus the margin; equivalence, both bounds within
  ± the margin; where lower is better, the sides change. All are on candidate minus baseline, at the level of
  `confidence`. A criterion written beside a hypothesis must say the same.
- A setting that an endpoint's metric does not have is refused, and so is a metric that needs a probability where
  `task.probability` is false.
- `score` is a formula of model outputs with numbers, `+ - * /`, parentheses, `min()` and `max()`, or a list of outputs,
  which is summed. In a list, names are taken literally, so an output such as `p_grade-4` is written there.
- A `multiclass` task has one reference column, its values as `classes` and one output per class; a `multilabel` one a
  list of reference columns and one output for each; an `ordinal` one `classes` from the lowest grade to the highest and
  either one output per grade or the predicted grade. A metric of one class or label against the others names it as
  `target`; averages over them are metrics of their own (`macro_sensitivity`).
- A key given twice, a date or number where text is meant (`version: 1.0`), and references (`&`, `*`) that multiply are
  refused.

Parts of a valid protocol that this version cannot carry out are listed by `evalsuite run` before it starts, with exit
code 2; `evalsuite inspect` shows them.
"""


def reference_markdown() -> str:
    """The whole of protocols/README.md."""
    parts = [
        _INTRODUCTION,
        "## Shipped protocols\n",
        *_shipped(),
        "",
        "## Fields\n",
        "A field without a default is required. An unknown key is an error.\n",
        *_blocks(),
        _RULES,
        "## Metrics\n",
        "The names an endpoint may use. Under *needs*: endpoint keys that must be given, or (in brackets) may.\n"
        "`evalsuite list metrics` lists those this version computes. In tasks with several classes or labels every\n"
        "metric of a binary task may be of one of them (`target`).\n",
        *_metrics(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _shipped() -> Iterator[str]:
    yield "| name | kind | title | primary acceptance criteria |"
    yield "|---|---|---|---|"
    for name in shipped_protocols():
        protocol = load_protocol(name)
        goals = [
            f"{e.metric} {e.criterion.bound} bound {e.criterion.op} {e.criterion.value:g}"
            + (" (placeholder)" if e.criterion.placeholder else "")
            for e in protocol.endpoints
            if e.role == "primary" and e.criterion is not None
        ]
        yield f"| `{name}` | {protocol.kind} | {protocol.title} | {'; '.join(goals)} |"


def _blocks() -> Iterator[str]:
    seen: list[type[BaseModel]] = []
    queue: list[tuple[str, type[BaseModel]]] = [("", StudyProtocol)]
    while queue:
        path, model = queue.pop(0)
        if model in seen:
            continue
        seen.append(model)
        yield f"### {f'`{path}`' if path else 'Top level'}\n"
        yield f"{_first_paragraph(model)}\n"
        if not model.model_fields:
            continue
        yield "| field | type | default | meaning |"
        yield "|---|---|---|---|"
        for name, field in model.model_fields.items():
            key = field.alias or name
            where = f"{path}.{key}" if path else key
            default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
            yield f"| `{key}` | {_type(field.annotation)} | {default} | {field.description or ''} |"
            inner = _inner(field.annotation)
            if inner is not None:
                many = "[]" if get_origin(_bare(field.annotation)) is list else ""
                queue.append((where + many, inner))
        yield ""


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _inner(annotation: Any) -> type[BaseModel] | None:
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return bare
    for argument in get_args(bare):
        found = _inner(argument)
        if found is not None:
            return found
    return None


_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true/false", Any: "any value"}


def _type(annotation: Any) -> str:
    bare = _bare(annotation)
    origin, arguments = get_origin(bare), get_args(bare)
    if bare in _PLAIN:
        return _PLAIN[bare]
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return "block"
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)} numbers"
    if origin is dict:
        return "block"
    return str(bare)


def _default(value: Any) -> str:
    if value is PydanticUndefined or value is None:
        return "–"
    if isinstance(value, BaseModel):
        return "see below"
    if value == "":
        return "empty"
    if value in ([], {}):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _metrics() -> Iterator[str]:
    yield "| metric | meaning | needs | better | range | tasks |"
    yield "|---|---|---|---|---|---|"
    for info in METRICS.values():
        meaning = f"{info.title}: {info.definition}"
        cells = (f"`{info.name}`", meaning, _needs(info), _direction(info), _range(info), ", ".join(info.tasks))
        yield f"| {' | '.join(cells)} |"


def _needs(info: MetricInfo) -> str:
    needs = ["`at`"] if info.needs_operating_point else []
    needs += [f"`{name}`" for name in info.requires] + [f"(`{name}`)" for name in info.accepts]
    if info.needs_probability:
        needs.append("a probability")
    return ", ".join(needs) or "–"


def _direction(info: MetricInfo) -> str:
    return {True: "higher", False: "lower", None: "neither"}[info.higher_is_better]


def _range(info: MetricInfo) -> str:
    low = "−∞" if info.lower is None else f"{info.lower:g}".replace("-", "−")
    high = "∞" if info.upper is None else f"{info.upper:g}"
    return f"{low} to {high}"


if __name__ == "__main__":
    sys.stdout.write(reference_markdown())
