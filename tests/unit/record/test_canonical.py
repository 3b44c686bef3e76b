import json
from types import MappingProxyType

import numpy as np
import pytest

from evalsuite.errors import InputError, LockError, OutputError
from evalsuite.record.canonical import canonical_json, parse_json, read_json, write_json


def test_keys_are_sorted_and_nothing_is_escaped_that_need_not_be():
    assert canonical_json({"b": [1, 0.1, None, True], "a": "ä\n"}) == '{"a":"ä\\n","b":[1,0.1,null,true]}'.encode()


def test_mappings_and_tuples_are_json():
    assert canonical_json(MappingProxyType({"x": (1, 2)})) == b'{"x":[1,2]}'


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_hold_is_refused(bad):
    with pytest.raises(ValueError, match=r".*"):
        canonical_json({"x": bad})


def test_numpy_scalars_are_refused():
    with pytest.raises(TypeError, match="float32"):
        canonical_json(np.float32(1.0))


def test_round_trip(tmp_path):
    obj = {"n": 3, "x": 0.1 + 0.2, "text": "é"}
    write_json(tmp_path / "a.json", obj)
    assert read_json(tmp_path / "a.json") == obj
    assert (tmp_path / "a.json").read_bytes() == canonical_json(obj)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":-Infinity}', b"[" * 100_000]
)
def test_damaged_json_is_one_typed_error(data, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(LockError, match=r"x\.json"):
        read_json(path, error=LockError)


def test_missing_file_is_a_typed_error(tmp_path):
    with pytest.raises(InputError, match="missing"):
        read_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)


def test_write_to_a_missing_folder(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_json(tmp_path / "no" / "x.json", {})


def test_parse_reads_what_json_writes():
    assert parse_json(json.dumps({"a": [1, 2.5]}).encode(), "x") == {"a": [1, 2.5]}
