"""Text from outside: nothing hidden, nothing reordered, nothing endless, nothing without a glyph."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalsuite.report.svg import drawing, fit, nice_ticks, text, text_width, wrap
from evalsuite.report.text import clean, glyphs, sentence, short_digest
from evalsuite.report.text import given as stated


@given(st.text(max_size=300))
def test_every_printed_character_has_a_glyph(value: str) -> None:
    printed = clean(value)
    assert all(ord(c) in glyphs() for c in printed)
    assert len(printed) <= 700


def test_what_reports_need_is_in_the_fonts() -> None:
    needed = "≥≤±–—×χκ−·→←↑↓✓•…“”‘’µ°αβΔσλτρ½≠≈∞√∑■□●○▲△†‡§‹›\u00a0\u202f" + "äöüßéñçøåæœčšžłğıőű" + "ΑΩαω" + "Жя"
    assert not [c for c in needed if ord(c) not in glyphs()]


def test_hidden_and_unknown_characters_become_visible() -> None:
    assert clean("a\u202eb") == "a‹U+202E›b"
    assert clean("a\u200bb\x00c") == "a‹U+200B›b‹U+0000›c"
    assert clean("漢") == "‹U+6F22›"
    assert clean(" a\t\n b ") == "a b"
    assert clean("\ud800") == "‹U+D800›"


def test_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 1000, longest=300).endswith("[cut: 1,000 characters in all]")
    assert clean("x" * 100, longest=10) == "x" * 10 + "…"
    assert clean("x" * 10, longest=10) == "x" * 10


def test_small_words() -> None:
    assert stated(None) == "not stated"
    assert stated("  ", "none") == "none"
    assert short_digest("a" * 64) == "a" * 12 + "…"
    assert short_digest(None) == "not recorded"
    assert sentence("the end") == "The end."
    assert sentence("Really?") == "Really?"
    assert sentence("") == ""


def test_text_is_fitted_by_its_real_width() -> None:
    assert text_width("iiii") < text_width("mmmm")
    assert fit("short", 100) == "short"
    cut = fit("a very long label indeed", 60)
    assert cut.endswith("…")
    assert text_width(cut) <= 60
    lines = wrap("one two three four five six seven eight", 60, lines=2)
    assert len(lines) == 2
    assert all(text_width(line) <= 60 for line in lines)


def test_drawings_escape_what_is_written_in_them() -> None:
    svg = drawing(10, 10, [text(0, 0, "<b>&</b>")], title="</title><script>")
    assert "<b>" not in svg
    assert "<script>" not in svg


def test_ticks_are_round_and_inside() -> None:
    assert nice_ticks(0, 1) == (0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert nice_ticks(0.812, 0.957) == (0.82, 0.84, 0.86, 0.88, 0.9, 0.92, 0.94) or len(nice_ticks(0.812, 0.957)) >= 3
    assert nice_ticks(3, 3) == (3,)
    assert all(-5 <= t <= 12 for t in nice_ticks(-5, 12))
