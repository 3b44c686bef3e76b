"""One draw of patients for a whole study: replicates are made once for a question and read at any confidence level."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from evalsuite.protocol.schema import StudyProtocol
from evalsuite.stats.draw import PatientDraw

Table = TypeVar("Table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """The draw, and replicates that will be read again; without `keep` each table is made, read and let go."""

    draw: PatientDraw
    keep: bool = False
    kept: dict[Hashable, object] = field(default_factory=dict)

    @classmethod
    def of(cls, protocol: StudyProtocol, patient_index: object) -> Resampling:
        """The draw that a protocol asks for, of these (n,) patients."""
        replicates = protocol.confidence.bootstrap.replicates
        return cls(draw=PatientDraw(patient_index, replicates=replicates, seed=protocol.seed))  # type: ignore[arg-type]

    def keeping(self) -> Resampling:
        """The same draw with a memory of its own."""
        return replace(self, keep=True, kept={})

    def table(self, key: Hashable, make: Callable[[], Table]) -> Table:
        """What `make` gives; the same object for the same key where tables are kept.

        `key` names everything that the replicates depend on but the draw.
        """
        if not self.keep:
            return make()
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]  # type: ignore[return-value]


def at_level(protocol: StudyProtocol, level: float) -> StudyProtocol:
    """The same protocol with two-sided intervals of this level."""
    confidence = protocol.confidence.model_copy(update={"level": level, "sided": "two"})
    return protocol.model_copy(update={"confidence": confidence})


class Levelled(Protocol):
    """A study whose intervals have its protocol's level."""

    protocol: StudyProtocol
    resampling: Resampling


Study = TypeVar("Study", bound=Levelled)


def with_small_groups(study: Study) -> Study:
    """The same study with an estimate in every group, however small."""
    again = copy.copy(study)
    small = study.protocol.small_strata.model_copy(update={"suppress_below": 1})
    again.protocol = study.protocol.model_copy(update={"small_strata": small})
    return again


def with_level(study: Study, level: float) -> Study:
    """The same study at another two-sided level; its replicates are made once and kept from one level to the next."""
    again = copy.copy(study)
    again.protocol = at_level(study.protocol, level)
    again.resampling = study.resampling if study.resampling.keep else study.resampling.keeping()
    return again
