"""The report of a made-up study, compared as text: the whole view model, and every figure as a picture one can open."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from factory import study

from evalsuite.report.dossier import build_dossier

STUDIES = {
    "final": lambda: study(),
    "draft": lambda: study(outcome="not_met", frozen=False, complete=False),
}


def _without_drawings(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: f"<{len(v)} characters>" if k == "svg" else _without_drawings(v) for k, v in value.items()}
    return [_without_drawings(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_the_view_model_is_as_reviewed(name: str, golden: Callable[[str, str], None]) -> None:
    s = STUDIES[name]()
    plain = build_dossier(s.protocol, s.evidence, s.verdict, s.record).to_json()
    golden(f"dossier-{name}.json", json.dumps(_without_drawings(plain), indent=1, ensure_ascii=False) + "\n")


def test_every_figure_is_as_reviewed(golden: Callable[[str, str], None]) -> None:
    s = STUDIES["final"]()
    dossier = build_dossier(s.protocol, s.evidence, s.verdict, s.record)
    drawn = []
    for section in dossier.sections:
        for block in section.blocks:
            figures = [block] if block.block == "figure" else [block.left, block.right] if block.block == "pair" else []
            drawn += [f for f in figures if f.block == "figure"]
    assert len(drawn) == 8
    for figure in drawn:
        name = re.sub(r"[^a-z0-9]+", "-", f"{figure.label} {figure.caption}".lower()).strip("-")
        golden(f"figures/{name}.svg", figure.svg.replace("><", ">\n<") + "\n")
