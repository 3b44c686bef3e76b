"""What a sandboxed model may answer when it is asked for maps: exactly those of the job, of the images' own size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.attribution.job import Attributed, cost, keys_of_values, names_of_maps
from evalsuite.sandbox.answer import BrokenPromise
from evalsuite.sandbox.text import clean
from evalsuite.sandbox.wire import Message

if TYPE_CHECKING:
    from evalsuite.protocol.interpretability import Interpretability

_LONGEST_NOTE = 200


def most_bytes(asked: Interpretability, n: int, spatial: Sequence[int]) -> int:
    """Bytes of the answer for `n` images."""
    maps, values = len(names_of_maps(asked)), len(keys_of_values(asked, len(spatial)))
    return n * (4 * maps * math.prod(spatial) + 8 * values)


def read(answer: Message, asked: Interpretability, n: int, spatial: Sequence[int]) -> Attributed:
    """The answer as maps and values; values may be NaN, maps not.

    Raises
    ------
    BrokenPromise
        If the number of bytes is another, a map holds what is no number, or the counts or notes are none.
    """
    names, keys = names_of_maps(asked), keys_of_values(asked, len(spatial))
    if len(answer.payload) != most_bytes(asked, n, spatial):
        raise BrokenPromise(f"gave {len(answer.payload)} bytes where {most_bytes(asked, n, spatial)} are due for maps")
    size = n * math.prod(spatial)
    table = np.frombuffer(answer.payload, dtype="<f4", count=size * len(names)).reshape(len(names), n, *spatial)
    if not np.isfinite(table).all():
        raise BrokenPromise("gave maps that hold what is no number")
    values = np.frombuffer(answer.payload, dtype="<f8", offset=4 * size * len(names)).reshape(len(keys), n)
    return Attributed(
        maps={name: np.array(table[k]) for k, name in enumerate(names)},
        values={key: np.array(values[k]) for k, key in enumerate(keys)},
        passes=_counts(answer.header.get("passes"), asked, spatial),
        notes=_notes(answer.header.get("notes"), [m.label for m in asked.methods]),
    )


def _counts(said: Any, asked: Interpretability, spatial: Sequence[int]) -> dict[str, int]:
    known = cost(asked, spatial)
    if not isinstance(said, Mapping) or any(
        k not in known or isinstance(v, bool) or not isinstance(v, int) or v < 0 for k, v in said.items()
    ):
        raise BrokenPromise("does not say how often it was shown an image")
    return dict(said)


def _notes(said: Any, labels: Sequence[str]) -> dict[str, str]:
    if not isinstance(said, Mapping) or any(k not in labels for k in said):
        raise BrokenPromise("gave notes on methods it was not asked for")
    return {k: clean(v, limit=_LONGEST_NOTE) for k, v in said.items()}
