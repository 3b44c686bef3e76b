"""The first page of a submission package: what is in it, where each clause is answered, how to check it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalsuite.report.render import template_environment

_WORDS = {"met": "● met", "not_met": "■ not met", "inconclusive": "△ inconclusive"}


def package_page(index: Mapping[str, Any]) -> str:
    """index.html of a package from its index.json: one document without scripts or addresses outside the package."""
    template = template_environment().get_template("package.html.j2")
    return template.render(d=index, words=_WORDS)
