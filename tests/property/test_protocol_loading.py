"""Whatever stands in a protocol file: it loads, or every fault is told; nothing else happens."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.errors import ProtocolError
from evalsuite.protocol.load import dump_protocol, load_protocol, parse_protocol, protocol_digest, shipped_protocols

SHIPPED = [yaml.safe_load(path.read_bytes()) for path in shipped_protocols().values()]

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=8)
    | st.sampled_from(["auroc", "sensitivity", "primary", "sex", "age", "lower", "upper", ">", "<", "binary", "point"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "metric", "at", "cross", "bins", "column", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a protocol that can be changed."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, item in items for p in [(*prefix, key), *paths(item, (*prefix, key))]]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    data = copy.deepcopy(draw(st.sampled_from(SHIPPED)))
    for _ in range(draw(st.integers(1, 4))):
        *parents, last = draw(st.sampled_from(paths(data)))
        at = data
        for step in parents:
            at = at[step]
        match draw(st.sampled_from(["replace", "remove", "add", "repeat"])):
            case "replace":
                at[last] = draw(junk)
            case "remove":
                del at[last]
            case "add" if isinstance(at, dict):
                at[draw(st.sampled_from(["x", "each", "stratum", "interval", "criterion", "order"]))] = draw(junk)
            case _ if isinstance(at, list):
                at.append(copy.deepcopy(at[last]))
        if not paths(data):
            break
    return data


@settings(max_examples=150, deadline=None)
@given(damaged())
def test_a_damaged_protocol_loads_or_tells_its_faults(data: dict[str, Any]) -> None:
    error: ProtocolError | None = None
    try:
        protocol = parse_protocol(yaml.safe_dump(data).encode(), "study.yaml")
    except ProtocolError as caught:
        error = caught
    else:
        again = parse_protocol(dump_protocol(protocol).encode())
        assert again == protocol
        assert protocol_digest(again) == protocol_digest(protocol)
    if error is not None:
        assert len(set(error.problems)) == len(error.problems)
        assert all(p.what for p in error.problems)
        assert error.problems or error.message
        assert "\ufffd" not in str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_protocol_error(data: bytes) -> None:
    refused = False
    try:
        parse_protocol(data)
    except ProtocolError:
        refused = True
    assert refused


@given(st.permutations(list(range(len(SHIPPED[0])))))
def test_the_order_of_keys_does_not_matter(order: list[int]) -> None:
    keys = list(SHIPPED[0])
    turned = {keys[i]: SHIPPED[0][keys[i]] for i in order}
    protocol = parse_protocol(yaml.safe_dump(turned, sort_keys=False).encode())
    assert protocol_digest(protocol) == protocol_digest(load_protocol(protocol.id))
