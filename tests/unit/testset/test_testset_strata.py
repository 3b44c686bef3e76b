import numpy as np
import pandas as pd
import pytest

from evalsuite.errors import CaseTableError
from evalsuite.protocol.schema import StratumSpec
from evalsuite.testset.strata import assign_strata, bin_names, number


def frame(**columns):
    return pd.DataFrame(columns, dtype="str")


def one(cells, **spec):
    return assign_strata(frame(x=cells), [StratumSpec(name="g", column="x", **spec)])["g"]


def levels(labels):
    return [level[0] for level in labels.levels]


def test_cells_are_levels_missing_last():
    labels = one(["b", "", "unknown", "a", " ", "missing", "10", "9"])
    assert levels(labels) == ["9", "10", "a", "b", "unknown", "missing"]
    assert labels.index.tolist() == [3, 5, 4, 2, 5, 5, 1, 0]
    assert labels.as_stratum(3) == {"g": "b"}
    assert labels.mask(5).tolist() == [False, True, False, False, True, True, False, False]
    assert labels.mask(0).dtype == np.bool_


def test_bins_edges_belong_to_the_upper_bin():
    labels = one(["39.999", "40", "59", "60", "-1e3", "1e9"], bins=[40, 60])
    assert levels(labels) == ["<40", "40-<60", ">=60"]
    assert labels.index.tolist() == [0, 1, 1, 2, 0, 2]


def test_cells_that_are_no_number_are_groups_of_their_own():
    labels = one(["50", "n/a", "", "nan", "inf", "1_000", "0x10"], bins=[40, 60])
    assert levels(labels) == ["<40", "40-<60", ">=60", "0x10", "1_000", "inf", "n/a", "nan", "missing"]


def test_declared_bins_are_levels_even_when_empty():
    labels = one(["50"], bins=[40, 60])
    assert levels(labels) == ["<40", "40-<60", ">=60"]
    assert labels.mask(0).tolist() == [False]


def test_dicom_ages_are_years():
    assert number("058Y") == 58
    assert number("006M") == 0.5
    assert number("058X") is None
    assert levels(one(["058Y", "006M"], bins=[1]))[:2] == ["<1", ">=1"]


def test_cross_has_the_combinations_that_occur_in_the_order_of_its_parts():
    specs = [
        StratumSpec(name="sex", column="sex"),
        StratumSpec(name="age", column="age", bins=[40, 60]),
        StratumSpec(name="sex and age", cross=["sex", "age"]),
    ]
    data = frame(sex=["m", "f", "m", "", "f"], age=["70", "30", "70", "50", "65"])
    labels = assign_strata(data, specs)
    assert list(labels) == ["sex", "age", "sex and age"]
    cross = labels["sex and age"]
    assert cross.keys == ("sex", "age")
    assert cross.levels == (("f", "<40"), ("f", ">=60"), ("m", ">=60"), ("missing", "40-<60"))
    assert cross.index.tolist() == [2, 0, 2, 3, 1]
    assert cross.as_stratum(0) == {"sex": "f", "age": "<40"}


def test_a_cross_may_come_first_and_name_a_cross():
    specs = [
        StratumSpec(name="all", cross=["ab", "c"]),
        StratumSpec(name="ab", cross=["a", "b"]),
        *(StratumSpec(name=n) for n in "abc"),
    ]
    labels = assign_strata(frame(a=["1"], b=["2"], c=["3"]), specs)["all"]
    assert labels.keys == ("a", "b", "c")
    assert labels.levels == (("1", "2", "3"),)


def test_columns_that_are_not_there_are_all_named():
    specs = [StratumSpec(name="sex", column="sx"), StratumSpec(name="age"), StratumSpec(name="x")]
    with pytest.raises(CaseTableError) as error:
        assign_strata(frame(sex=["f"], x=["1"]), specs)
    assert [p.what for p in error.value.problems] == ["no column 'sx'", "no column 'age'"]
    assert error.value.problems[0].hint == "did you mean 'sex'?"


def test_wrong_specs_are_value_errors():
    data = frame(a=["1"], b=["1"])
    a = StratumSpec(name="a")
    for specs in (
        [StratumSpec(name="a", bins=[2, 1])],
        [StratumSpec(name="a", bins=[])],
        [a, StratumSpec(name="c", cross=["a", "none"])],
        [StratumSpec(name="c", cross=["c", "a"]), a],
        [a, StratumSpec(name="c", cross=["a", "a"])],
    ):
        with pytest.raises(ValueError, match=r"bins|cross"):
            assign_strata(data, specs)


def test_bin_names():
    assert bin_names([40.0, 60.5]) == ["<40", "40-<60.5", ">=60.5"]
    assert bin_names([-5]) == ["<-5", ">=-5"]


def test_no_strata_and_no_rows():
    assert assign_strata(frame(a=["1"]), []) == {}
    assert assign_strata(frame(a=[]), [StratumSpec(name="a")])["a"].levels == ()
