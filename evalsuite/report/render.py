"""The dossier as HTML: one template, two style sheets, fonts inside; every text from outside is escaped."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Literal

from evalsuite.report.view import Dossier
from evalsuite.resources import bundled

Medium = Literal["print", "screen"]

_FACES = (
    ("Inter", 400, "normal", "Inter-Regular.otf"),
    ("Inter", 400, "italic", "Inter-Italic.otf"),
    ("Inter", 600, "normal", "Inter-SemiBold.otf"),
    ("Inter", 700, "normal", "Inter-Bold.otf"),
    ("JetBrains Mono", 400, "normal", "JetBrainsMono-Regular.ttf"),
)
_MIME = {".otf": "font/otf", ".ttf": "font/ttf"}


@cache
def font_faces() -> str:
    """CSS that carries the report's fonts inside the document."""
    folder = bundled("reports", "style", "fonts")
    rules = []
    for family, weight, style, name in _FACES:
        data = base64.b64encode((folder / name).read_bytes()).decode("ascii")
        rules.append(
            f'@font-face {{ font-family: "{family}"; font-weight: {weight}; font-style: {style}; '
            f"src: url(data:{_MIME[Path(name).suffix]};base64,{data}); }}"
        )
    return "\n".join(rules)


def style_sheet(medium: Medium) -> str:
    """Fonts, common rules and those of the medium."""
    folder = bundled("reports", "style")
    parts = [font_faces()]
    parts += [(folder / f"{name}.css").read_text(encoding="utf-8") for name in ("base", medium)]
    return "\n".join(parts)


def render_html(dossier: Dossier, *, medium: Medium) -> str:
    """The report as one self-contained HTML document: no scripts, no address outside itself.

    Raises
    ------
    jinja2.UndefinedError
        If the template names something the dossier does not have.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(bundled("reports", "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The only two strings that are markup: drawings built by evalsuite.report.svg (which escapes all text) and our CSS.
    environment.filters["drawing"] = Markup
    environment.filters["css"] = Markup
    return environment.get_template("report.html.j2").render(d=dossier, style=style_sheet(medium))
