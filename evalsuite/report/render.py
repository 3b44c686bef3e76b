"""The dossier as HTML: one template, two style sheets, fonts inside; every text from outside is escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evalsuite.report.anchors import pointer
from evalsuite.report.view import Dossier, Item, Table
from evalsuite.resources import bundled

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

Medium = Literal["print", "screen"]

#: Addresses of this scheme are the report's own fonts; parsing them out of data: addresses costs a second per report.
FONT_SCHEME = "report"

_FACES = (
    ("Inter", 400, "normal", "Inter-Regular.otf"),
    ("Inter", 400, "italic", "Inter-Italic.otf"),
    ("Inter", 600, "normal", "Inter-SemiBold.otf"),
    ("Inter", 700, "normal", "Inter-Bold.otf"),
    ("JetBrains Mono", 400, "normal", "JetBrainsMono-Regular.ttf"),
)
_PERCENT = re.compile(r"\d/\d+ · [<>]?(-?\d+(?:\.\d+)?)")
_NUMBER = re.compile(r"(?:[<>≥≤] ?)?(-?\d+(?:\.\d+)?)(?![\w-])")
_POWER = re.compile(r"×10\^(-?\d+)")
_KEEP_ROWS, _KEEP_CHARACTERS = 9, 1000
_MIME = {".otf": "font/otf", ".ttf": "font/ttf"}


@cache
def fonts() -> dict[str, bytes]:
    """The report's font files by name."""
    folder = bundled("reports", "style", "fonts")
    return {name: (folder / name).read_bytes() for *_, name in _FACES}


@cache
def font_faces(medium: Medium) -> str:
    """CSS for the report's fonts: inside the document on screen, named "report:FILE" where the PDF maker has them."""
    rules = []
    for family, weight, style, name in _FACES:
        address = f"{FONT_SCHEME}:{name}"
        if medium == "screen":
            data = base64.b64encode(fonts()[name]).decode("ascii")
            address = f"data:{_MIME[Path(name).suffix]};base64,{data}"
        described = f'font-family: "{family}"; font-weight: {weight}; font-style: {style}'
        rules.append(f"@font-face {{ {described}; src: url({address}); }}")
    return "\n".join(rules)


def style_sheet(medium: Medium) -> str:
    """Fonts, common rules and those of the medium."""
    folder = bundled("reports", "style")
    parts = [font_faces(medium)]
    parts += [(folder / f"{name}.css").read_text(encoding="utf-8") for name in ("base", medium)]
    return "\n".join(parts)


@cache
def script() -> str:
    """What sorts and filters tables on screen."""
    return (bundled("reports", "style") / "screen.js").read_text(encoding="utf-8")


@cache
def policy() -> str:
    """The content security policy on screen: nothing is fetched, and no script runs but this one."""
    digest = base64.b64encode(hashlib.sha256(script().encode("utf-8")).digest()).decode("ascii")
    inside = "style-src 'unsafe-inline'; img-src data:; font-src data:"
    return f"default-src 'none'; script-src 'sha256-{digest}'; {inside}; base-uri 'none'; form-action 'none'"


def sorting(text: str) -> Markup:
    """The attribute that says by which number a cell is sorted; none where it is sorted by its words."""
    from markupsafe import Markup

    value = sort_value(text)
    return Markup("") if value is None else Markup(' data-sort="{}"').format(f"{value:.10g}")


def _not_sorted(_: str) -> str:
    return ""


def sort_value(text: str) -> float | None:
    """The number a printed cell stands for: the percentage of "490/500 · 98.0 % (96.3–99.0)", the first one otherwise.

    None where the cell does not begin with a number: it is sorted by its words, behind all numbers.
    """
    plain = text.replace("\u202f", "").replace("\u2212", "-")
    found = _PERCENT.search(plain) or _NUMBER.match(plain)
    if found is None:
        return None
    value = float(found.group(1))
    power = _POWER.match(plain[found.end(1) :])
    return value * 10.0 ** int(power.group(1)) if power else value


def place(anchor: str | None, of: Sequence[str]) -> Markup:
    """The attributes of an element that prints findings: its own name, and the places in evidence.json of all."""
    from markupsafe import Markup

    names = [*((anchor,) if anchor else ()), *of]
    if not names:
        return Markup("")
    where = " ".join(dict.fromkeys(map(pointer, names)))
    return Markup(' id="{}" data-finding="{}"').format(names[0], where)


def more_places(anchor: str | None, of: Sequence[str]) -> Markup:
    """The names that an element has besides its own, one for each further finding that it prints."""
    from markupsafe import Markup

    names = [*((anchor,) if anchor else ()), *of][1:]
    return Markup("").join(Markup('<span id="{}"></span>').format(name) for name in names)


def is_short(table: Table) -> bool:
    """Whether a table should stay on one page: longer ones run on, with their headings repeated."""
    if len(table.rows) > _KEEP_ROWS:
        return False
    return sum(len(cell.text) + len(cell.sub) for row in table.rows for cell in row.cells) < _KEEP_CHARACTERS


def is_brief(items: Sequence[Item]) -> bool:
    """Whether a list of facts should stay on one page."""
    return sum(len(item.value) for item in items) < _KEEP_CHARACTERS


def template_environment() -> Environment:
    """Templates of the suite: every text is escaped, and a name that does not exist is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(bundled("reports", "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_html(dossier: Dossier, *, medium: Medium) -> str:
    """The report as one self-contained HTML document with no address outside itself.

    On screen it has one script, which sorts and filters what is there; its policy forbids every request and any other
    script. Without the script nothing is missing.

    Raises
    ------
    jinja2.UndefinedError
        If the template names something the dossier does not have.
    """
    from markupsafe import Markup

    environment = template_environment()
    # The only two strings that are markup: drawings built by evalsuite.report.svg (which escapes all text) and our CSS.
    environment.globals.update(is_short=is_short, is_brief=is_brief, place=place, more_places=more_places)
    environment.filters["drawing"] = Markup
    environment.filters["css"] = Markup
    screen = medium == "screen"
    environment.globals["sorting"] = sorting if screen else _not_sorted
    return environment.get_template("report.html.j2").render(
        d=dossier,
        style=style_sheet(medium),
        screen=screen,
        script=script() if screen else "",
        policy=policy() if screen else "",
    )
