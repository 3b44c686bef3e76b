"""Text as an attacker, or a careless export, would write it, and what a report may hold in spite of it."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

#: Markup, addresses, style, templates; then characters that hide, reorder or have no glyph.
HOSTILE = (
    "<script>hit()</script>",
    '"><img src="file:///etc/passwd" onerror="hit()">',
    "' onmouseover='hit()",
    "</td></table></style></title><b>",
    '<a href="javascript:hit()">x</a>',
    "[x](javascript:hit()) ![x](file:///etc/passwd)",
    '<link rel="attachment" href="file:///etc/passwd">',
    "@import url(http://example.invalid/x.css); } body { display: none }",
    "{{ 7*7 }} {% raw %} ${7*7} %s %(x)s",
    "&lt;b&gt; &#60;b&#62; &amp;",
    "=HYPERLINK(1) \x1b[31m\x07",
    "\u202egnisrever\u202c \u2066x\u2069 \u200b\ufeff\u00ad",
    "العربية עברית",
    "漢字 かな 한국어",
    "\U0001f600\U0001f468\u200d\U0001f469 \ue000",
    "a\u0301\u0301\u0301\u0301 \u2028\u2029\u0085",
)
LONG = "x" * 10_000

_TAGS = {
    "html", "head", "meta", "title", "style", "script", "body", "a", "b", "br", "button", "caption", "circle", "code",
    "col", "colgroup", "details", "div", "figcaption", "figure", "g", "h1", "h2", "h3", "image", "li", "line", "main",
    "nav", "ol", "p", "path", "polygon", "polyline", "rect", "section", "span", "summary", "svg", "table", "tbody",
    "td", "text", "tspan", "th", "thead", "tr", "ul", "sup", "strong", "em", "dl", "dt", "dd", "header", "footer",
}  # fmt: skip
_RAW = re.compile(r"<(style|script)>.*?</\1>", re.S)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.faults.append(f"an element <{tag}>")
        for name, value in attrs:
            address = (value or "").strip()
            if name.startswith("on"):
                self.faults.append(f"a handler {name}")
            if name in ("src", "srcset", "action", "formaction", "background", "poster", "data"):
                self.faults.append(f"an address in {name}")
            if name in ("href", "xlink:href") and not address.startswith(("#", "data:image/png;base64,")):
                self.faults.append(f"a link to {address[:40]}")
            if name == "style" and re.search(r"url|expression|import", address):
                self.faults.append("an address in a style")


def faults_of(html: str) -> list[str]:
    """What in a report could run, fetch, hide or reorder; empty where its texts stayed texts."""
    reader = _Reader()
    reader.feed(_RAW.sub(lambda m: f"<{m[1]}></{m[1]}>", html))
    hidden = {c for c in html if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c not in "\n"}
    if len(re.findall(r"<script", html)) > 1 or len(re.findall(r"<style", html)) != 1:
        reader.faults.append("a script or a style too many")
    return reader.faults + [f"a hidden character U+{ord(c):04X}" for c in sorted(hidden)]
