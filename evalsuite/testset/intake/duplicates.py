"""The same image more than once: the same file, or the same pixels in another file."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from evalsuite.testset.intake.types import CheckResult, Intake, coverage, plural, undecoded

_WHY = "Copies are not independent observations: they narrow intervals and can count one error several times."
_ACTION = "Keep one case of each group, or say why the copies are wanted; retire the others with --retire."


def same_files(intake: Intake) -> CheckResult:
    """Cases whose images have the same bytes."""
    keys = [tuple(intake.digests[n] for n in names) for names in intake.images]
    groups = _groups(intake.case_ids, keys)
    return _result("same_file", "Same file in several cases", groups, intake, scope="")


def same_pixels(intake: Intake) -> CheckResult:
    """Cases whose images decode to the same values although their files differ."""
    title = "Same pixels in several cases"
    if (absent := undecoded(intake, "same_pixels", title, _WHY)) is not None:
        return absent
    keys = []
    for names in intake.images:
        digests = [intake.looks[n].pixel_digest if n in intake.looks else "" for n in names]
        # slices in any order: the names of files must not hide a copied series
        joined = "\n".join(sorted(digests)) if len(digests) > 1 else (digests[0] if digests else "")
        keys.append((hashlib.sha256(joined.encode()).hexdigest(),) if digests and all(digests) else ())
    identical = {
        frozenset(g) for g in _groups(intake.case_ids, [tuple(intake.digests[n] for n in i) for i in intake.images])
    }
    groups = tuple(g for g in _groups(intake.case_ids, keys) if frozenset(g) not in identical)
    return _result("same_pixels", title, groups, intake, scope=coverage(intake))


def _groups(case_ids: Sequence[str], keys: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for case_id, key in zip(case_ids, keys, strict=True):
        if key:
            found[key].append(case_id)
    return tuple(tuple(g) for g in found.values() if len(g) > 1)


def _result(check: str, title: str, groups: tuple[tuple[str, ...], ...], intake: Intake, *, scope: str) -> CheckResult:
    if not intake.image_files:
        return CheckResult(check=check, title=title, outcome="not_checked", summary="the set has no images", why=_WHY)
    cases = tuple(c for g in groups for c in g)
    across = n_across(groups, dict(zip(intake.case_ids, intake.patients, strict=True)))
    said = f"none{scope}"
    if groups:
        said = f"{plural(len(groups), 'group')} of {plural(len(cases), 'case')}, {across} across patients{scope}"
    return CheckResult(
        check=check,
        title=title,
        outcome="problem" if groups else "ok",
        summary=said,
        counts={"groups": len(groups), "cases": len(cases), "groups_across_patients": across},
        cases=cases,
        groups=groups,
        why=_WHY,
        action=_ACTION if groups else "",
    )


def n_across(groups: Sequence[Sequence[str]], patient_of: Mapping[str, str]) -> int:
    """How many groups hold cases of more than one patient."""
    return sum(1 for g in groups if len({patient_of[c] for c in g}) > 1)
