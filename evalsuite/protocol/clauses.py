"""Which claim, hazard or requirement an endpoint answers: the protocol's `clauses`, read either way round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalsuite.protocol.schema import StudyProtocol


def clauses_of(protocol: StudyProtocol) -> Iterator[tuple[str, str | None, str]]:
    """(clause, endpoint that answers it or None, what the protocol says besides), in the protocol's order.

    `clauses` may be written either way round: endpoint to clause(s), or clause to endpoint(s). What names no endpoint
    is passed on as the protocol's own words.
    """
    known = {e.name for e in protocol.endpoints} | {c.name for c in protocol.comparisons}
    for key, value in protocol.clauses.items():
        for text in _texts(value):
            if key in known:
                yield text, key, ""
            elif text in known:
                yield key, text, ""
            else:
                yield key, None, text


def _texts(value: Any) -> Iterator[str]:
    """The words of a free value: a text, several, or named ones."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            for text in _texts(inner):
                yield text if name == "endpoint" else f"{name}: {text}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _texts(inner)
    else:
        yield "" if value is None else str(value)
