"""Masks of suspected regions stay open when a set is locked, and those of lesions and maps are sealed."""

from __future__ import annotations

from evalsuite.testset.columns import assign_roles, column_problems, what_is_wanted
from tests.unit.analyses.test_beside_performance import SENSITIVITY, goal, protocol

TAG = {"name": "tag", "region": {"mask": "tag_mask"}, "change": "remove", "margins": {"score": 0.05}}
COLUMNS = ("case_id", "patient_id", "image", "truth", "site", "tag_mask", "lesion", "heat")


def wanted():
    block = {"shortcuts": [TAG], "localisation": {"reference": "lesion", "maps": "heat"}}
    p = protocol(goal(SENSITIVITY, 0.7), analyses={"interpretability": block})
    return what_is_wanted(reference=None, protocol=p, case_column="case_id", patient_column="patient_id")


def test_regions_are_open_and_lesions_sealed():
    roles = assign_roles(COLUMNS, ("image", "tag_mask", "lesion", "heat"), wanted())
    assert roles.images == ("image", "tag_mask")
    assert roles.files == ("lesion", "heat")
    assert {"lesion", "heat", "truth"} <= set(roles.sealed)
    assert "tag_mask" in roles.unsealed
    without = what_is_wanted(reference=None, protocol=None, case_column="case_id", patient_column="patient_id")
    assert assign_roles(COLUMNS, ("image", "tag_mask"), without).images == ("image",)


def test_a_column_that_is_not_there_is_named():
    found = column_problems(tuple(c for c in COLUMNS if c not in ("tag_mask", "heat")), wanted())
    assert {p.where for p in found} == {
        "analyses.interpretability.shortcuts", "analyses.interpretability.localisation.maps",
    }  # fmt: skip
