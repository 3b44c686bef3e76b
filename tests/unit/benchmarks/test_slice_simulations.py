"""The simulation of the search for slices: no effect holds rarely, a planted slice often; tiny, for the path's sake."""

from __future__ import annotations

from benchmarks.slice_simulations import DESIGNS, Design, study, table


def test_without_effect_few_hold_and_with_one_many():
    quiet = study(Design(name="", patients=300), 40, permutations=99)
    assert quiet.held <= 6  # of 40 at 5 %: more in one of 30,000 repetitions
    loud = study(Design(name="", patients=900, wrong=0.6), 10, permutations=99)
    assert loud.planted >= 8


def test_the_table_has_a_line_for_each_design():
    lines = list(table(1, permutations=9))
    assert len(lines) == len(DESIGNS) + 2
    assert lines[2].startswith("| no effect")
