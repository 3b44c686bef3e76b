"""Read a YAML file safely: no code, no duplicate keys, no endless references, and errors with their line."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

from evalsuite.errors import Problem, ProtocolError

MAX_BYTES = 1 << 20
_MAX_NODES = 100_000
_MAX_DEPTH = 100


class _UniqueKeys(yaml.SafeLoader):
    """A safe loader that notes every key given twice, instead of silently keeping the last."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.repeated: list[Problem] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                continue
            if key in lines:
                self.repeated.append(Problem(f"key '{key}' given twice", f"line {line}", f"first in line {lines[key]}"))
            lines.setdefault(key, line)
        return super().construct_mapping(node, deep=deep)


def parse_yaml(data: bytes, name: str) -> dict[str, Any]:
    """The mapping a YAML file holds.

    Parameters
    ----------
    name
        How error messages call the file.

    Raises
    ------
    ProtocolError
        If it is not YAML (with line and column), holds keys twice, is no mapping, is larger than 1 MiB, refers to
        itself, or holds values a protocol cannot hold (dates without quotes, infinite numbers).
    """
    if len(data) > MAX_BYTES:
        raise ProtocolError(f"{name} is larger than 1 MiB; a protocol is not.")
    try:
        return _parse(data, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = error.problem or error.context or "syntax error"
        raise ProtocolError(
            f"{name} is not valid YAML.", problems=[Problem(what, where, _syntax_hint(what))]
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProtocolError(
            f"{name} is not valid YAML.", problems=[Problem("not readable as UTF-8 text", hint="save it as UTF-8")]
        ) from error
    except (ValueError, OverflowError) as error:
        raise ProtocolError(
            f"{name} is not valid YAML.",
            problems=[Problem("a value looks like a date or number but is none", hint="put it in quotes")],
        ) from error
    except RecursionError as error:
        raise ProtocolError(f"{name} is nested too deeply for a protocol.") from error


def _parse(data: bytes, name: str) -> dict[str, Any]:
    loader = _UniqueKeys(data)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ProtocolError(f"{name} is empty.", hint="Start from a shipped one: evalsuite init DIR")
        _check_size(node, name)
        content = loader.construct_document(node)
    finally:
        loader.dispose()
    if not isinstance(content, dict):
        raise ProtocolError(
            f"{name} holds no keys and values.", hint="A protocol starts with schema: evalsuite/protocol/1"
        )
    problems = [*dict.fromkeys(loader.repeated), *_foreign_values(content, "")]
    if problems:
        raise ProtocolError(f"{name} has {count(problems)}", problems=problems)
    return content


def count(problems: list[Problem]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


def _syntax_hint(what: str) -> str:
    if "block scalar" in what or "cannot start any token" in what:
        return 'put comparison signs and special characters in quotes, e.g. op: ">"'
    return ""


def _check_size(root: yaml.Node, name: str) -> None:
    """Refuse references (`*name`) that multiply or contain themselves before anything is built from them."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node, depth: int) -> int:
        key = id(node)
        if key in open_nodes:
            raise ProtocolError(f"{name} refers to itself.", problems=[_at(node, "a reference contains itself")])
        if depth > _MAX_DEPTH:
            raise ProtocolError(f"{name} is nested too deeply.", problems=[_at(node, f"more than {_MAX_DEPTH} levels")])
        if key not in sizes:
            open_nodes.add(key)
            total = 1
            for child in _children(node):
                total += size(child, depth + 1)
                if total > _MAX_NODES:
                    raise ProtocolError(
                        f"{name} is too large.", problems=[_at(node, "more values than a protocol holds")]
                    )
            open_nodes.discard(key)
            sizes[key] = total
        return sizes[key]

    size(root, 0)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _at(node: yaml.Node, what: str) -> Problem:
    return Problem(what, f"line {node.start_mark.line + 1}")


def _foreign_values(value: Any, path: str) -> list[Problem]:
    """Values that YAML can write but a protocol, being JSON underneath, cannot hold."""
    if isinstance(value, dict):
        found: list[Problem] = []
        for key, item in value.items():
            where = f"{path}.{key}" if path else str(key)
            if not isinstance(key, str):
                found.append(Problem(f"key {key!r} is not text", path, "put it in quotes"))
            found += _foreign_values(item, where)
        return found
    if isinstance(value, list):
        return [p for i, item in enumerate(value) for p in _foreign_values(item, f"{path}[{i}]")]
    if isinstance(value, float) and not math.isfinite(value):
        return [Problem("not a finite number", path, "give a number")]
    if value is None or isinstance(value, bool | int | float | str):
        return []
    return [Problem("a date or other special value", path, "put it in quotes")]
