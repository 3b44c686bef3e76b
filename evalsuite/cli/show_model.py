"""What a model package is, on a terminal: what it would execute, its digest, and its contract as one writes it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml
from rich.text import Text

from evalsuite.cli.console import stdout

_WHERE = {
    "here": "on this machine, in the sandbox",
    "apart": "on this machine, as a program of its own",
    "remote": "on the server",
    "nowhere": "nothing is run",
}
_FIRST = ("schema", "name", "version", "task", "shape")
_FACTS = ("brought by", "address", "digest of", "executes", "draft written to")


def model(found: Mapping[str, Any]) -> None:
    """Facts, one to a line, then the contract (or its draft) as YAML without what is left at its default."""
    say = stdout().print
    say(Text(f"Model {found['name']}", style="bold"))
    size, files = found["size_bytes"], found["files"]
    limits = found.get("batch_limits") or (None, None)
    rows = {
        "format": found["format"],
        "size": f"{size / 1e6:,.1f} MB in {files} file{'s' * (files != 1)}" if size or files else "",
        "digest": found.get("digest", ""),
        **{name: found.get(name, "") for name in _FACTS},
        "runs": _WHERE.get(found["runs"], found["runs"]),
        "cases per pass": f"{limits[0]} to {limits[1]}" if limits[1] else "",
        "columns": ", ".join(found.get("outputs") or ()),
        "note": "\n".join(found.get("notes") or ()),
        "problem": found.get("problem", ""),
        **({"fits": "\n".join(found["fits"]) or "the test set"} if "fits" in found else {}),
    }
    width = max(len(name) for name, value in rows.items() if value)
    for name, value in rows.items():
        for line in str(value).splitlines():
            style = "bold red" if name == "problem" else ""
            _wrapped(f"  {name:<{width}}  ", line, style)
            name = ""
    title = f"Contract {found['contract_digest'][:16]}…" if found.get("contract") else "Draft of a contract"
    contract = found.get("contract") or found.get("draft")
    if contract:
        say(Text(title, style="bold"))
        text = yaml.safe_dump(
            _stated(contract), sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
        )
        say(Text(textwrap.indent(text, "  ").rstrip()), soft_wrap=True)


def _wrapped(first: str, text: str, style: str) -> None:
    room = max(stdout().width, len(first) + 20)
    shown = textwrap.fill(
        text, room, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    stdout().print(Text(shown, style=style), soft_wrap=True)


def _stated(value: Any) -> Any:
    """The same without fields that say nothing: null, none, false. What must not be empty, `problem` names."""
    if isinstance(value, Mapping):
        named = sorted(value, key=lambda k: _FIRST.index(k) if k in _FIRST else len(_FIRST))
        stated = [k for k in named if value[k] is not None and value[k] is not False and value[k] not in ("none", "")]
        return {k: _stated(value[k]) for k in stated}
    return [_stated(v) for v in value] if isinstance(value, (list, tuple)) else value
