"""Which acceptance criteria share one error rate, and by which procedure, as the protocol fixed it beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evalsuite.protocol.comparisons import asked_endpoints
from evalsuite.protocol.schema import Endpoint, StudyProtocol

Procedure = Literal["holm", "hochberg", "hommel", "fixed_sequence", "gatekeeping"]

TITLES: dict[str, str] = {
    "holm": "Holm",
    "hochberg": "Hochberg",
    "hommel": "Hommel",
    "fixed_sequence": "fixed sequence",
    "gatekeeping": "gatekeeping",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Endpoints tested together, in the order of the procedure.

    A comparison for equivalence is two endpoints of one name, a lower and an upper criterion: one claim.

    `decides` says whether the verdict uses the adjusted bounds; under `all_primary` every criterion has to be met,
    which needs no adjustment, and adjusted p-values are for information.
    """

    procedure: Procedure
    endpoints: tuple[Endpoint, ...]
    decides: bool

    @property
    def condition(self) -> str:
        """What marks this procedure's findings in the evidence."""
        return f"multiplicity={self.procedure}"

    @property
    def claims(self) -> tuple[tuple[Endpoint, ...], ...]:
        """The endpoints by name, in order: each is one claim, made if every criterion of it is met."""
        names = dict.fromkeys(e.name for e in self.endpoints)
        return tuple(tuple(e for e in self.endpoints if e.name == name) for name in names)

    @property
    def ordered(self) -> bool:
        """Whether an endpoint is tested only once all before it are met."""
        return self.procedure in ("fixed_sequence", "gatekeeping")

    @property
    def title(self) -> str:
        """The procedure in words."""
        return TITLES[self.procedure]


def decision_family(protocol: StudyProtocol) -> Family | None:
    """The endpoints whose claims share the error rate, or None where nothing has to be adjusted.

    Nothing has to be where one primary endpoint decides, or where all have to be met and no method is named. An
    endpoint judged in each group of a stratum is one member: its claim is that it is met in every group.
    """
    tested = [e for e in asked_endpoints(protocol) if e.criterion is not None]
    primary = [e for e in tested if e.role == "primary"]
    ordered = [e for name in dict.fromkeys(protocol.multiplicity.order) for e in tested if e.name == name]
    method = protocol.multiplicity.method
    if protocol.decision_rule == "gatekeeping":
        members, procedure = ordered, "gatekeeping"
    elif method == "none":
        return None
    else:
        members, procedure = (ordered if method == "fixed_sequence" else primary), method
    if len({e.name for e in members}) < 2:
        return None
    return Family(
        procedure=procedure,  # type: ignore[arg-type]
        endpoints=tuple(members),
        decides=protocol.decision_rule != "all_primary",
    )
