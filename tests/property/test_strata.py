"""Groups of cases cover the set, do not overlap, and do not depend on the order of the rows."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.protocol.schema import StratumSpec
from evalsuite.testset.strata import assign_strata

CELLS = st.one_of(
    st.sampled_from(["", "f", "m", "unknown", "missing", "40", "40.0", "60", "058Y"]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=30)
BINS = st.lists(st.integers(-100, 100), min_size=1, max_size=4, unique=True).map(sorted)
FINITE = st.floats(-1e6, 1e6)


def specs(bins):
    return [
        StratumSpec(name="a"),
        StratumSpec(name="b", bins=bins),
        StratumSpec(name="a and b", cross=["a", "b"]),
    ]


def frame(rows):
    return pd.DataFrame(rows, columns=["a", "b"], dtype="str")


@given(rows=ROWS, bins=BINS)
def test_every_case_is_in_exactly_one_level(rows, bins):
    for labels in assign_strata(frame(rows), specs(bins)).values():
        masks = np.array([labels.mask(i) for i in range(len(labels.levels))])
        assert (masks.sum(axis=0) == 1).all()
        assert len(set(labels.levels)) == len(labels.levels)


@given(rows=ROWS, bins=BINS, data=st.data())
def test_order_of_rows_does_not_matter(rows, bins, data):
    order = data.draw(st.permutations(range(len(rows))))
    straight = assign_strata(frame(rows), specs(bins))
    shuffled = assign_strata(frame([rows[i] for i in order]), specs(bins))
    for name, labels in straight.items():
        assert shuffled[name].levels == labels.levels
        assert shuffled[name].index.tolist() == [labels.index[i] for i in order]


@given(rows=ROWS, bins=BINS)
def test_a_cross_is_the_intersection_of_its_parts(rows, bins):
    labels = assign_strata(frame(rows), specs(bins))
    cross = labels["a and b"]
    for i, level in enumerate(cross.levels):
        a = labels["a"].levels.index((level[0],))
        b = labels["b"].levels.index((level[1],))
        assert (cross.mask(i) == (labels["a"].mask(a) & labels["b"].mask(b))).all()
        assert cross.mask(i).any()


@given(values=st.lists(FINITE, min_size=1, max_size=30), bins=BINS)
def test_bins_agree_with_numpy(values, bins):
    cells = pd.DataFrame({"b": [repr(v) for v in values]}, dtype="str")
    labels = assign_strata(cells, [StratumSpec(name="b", bins=bins)])["b"]
    assert labels.index.tolist() == np.digitize(values, bins).tolist()
