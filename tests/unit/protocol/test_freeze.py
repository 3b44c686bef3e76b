"""A frozen study opens as it was frozen, and in no other way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalsuite.errors import IntegrityError, OutputError
from evalsuite.protocol.freeze import Frozen, freeze, load_frozen
from evalsuite.protocol.load import load_protocol, protocol_digest
from evalsuite.record.digest import digest_json

PROTOCOL = load_protocol("generic_binary_standalone")


def frozen_in(folder: Path, **more: Any) -> Frozen:
    return freeze(
        PROTOCOL,
        out=folder,
        utc="2026-01-02T03:04:05Z",
        testset_root="a" * 64,
        model_digest="b" * 64,
        set_id="derm",
        set_version="1",
        **more,
    )


def test_what_was_frozen_is_read_back(tmp_path: Path) -> None:
    out = tmp_path / "FROZEN"
    frozen = frozen_in(out, contract_digest="c" * 64)
    assert load_frozen(out) == frozen
    assert frozen.protocol_digest == protocol_digest(PROTOCOL)
    assert (frozen.testset_root, frozen.model_digest, frozen.contract_digest) == ("a" * 64, "b" * 64, "c" * 64)
    assert load_protocol(out) == PROTOCOL
    assert sorted(p.name for p in out.iterdir()) == ["freeze.json", "protocol.yaml"]
    content = json.loads((out / "freeze.json").read_text())
    assert content["signature"] is None
    assert content["schema"] == "evalsuite/frozen/1"


def test_the_same_study_frozen_twice_has_the_same_digest(tmp_path: Path) -> None:
    assert frozen_in(tmp_path / "a").digest == frozen_in(tmp_path / "b").digest
    assert frozen_in(tmp_path / "c", contract_digest="d" * 64).digest != frozen_in(tmp_path / "d").digest


def test_the_source_file_is_recorded_where_there_is_one(tmp_path: Path) -> None:
    source = tmp_path / "study.yaml"
    source.write_bytes(b"anything")
    frozen_in(tmp_path / "a", protocol_path=source)
    digest = json.loads((tmp_path / "a" / "freeze.json").read_text())["protocol"]["source_sha256"]
    assert digest == "ee0874170b7f6f32b8c2ac9573c428d35b575270a66b757c2c0185d2bd09718d"  # printf anything | sha256sum


def test_every_single_byte_counts(tmp_path: Path) -> None:
    out = tmp_path / "FROZEN"
    frozen_in(out)
    for name in ("protocol.yaml", "freeze.json"):
        file = out / name
        data = file.read_bytes()
        for position in range(0, len(data), max(1, len(data) // 40)):
            file.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            with pytest.raises(IntegrityError):
                load_frozen(out)
        file.write_bytes(data)
    load_frozen(out)


@pytest.mark.parametrize("name", ["protocol.yaml", "freeze.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    frozen_in(tmp_path / "F")
    (tmp_path / "F" / name).unlink()
    with pytest.raises(IntegrityError, match=name):
        load_frozen(tmp_path / "F")


@pytest.mark.parametrize("field", ["protocol", "testset", "model", "utc", "digest", "software", "signature"])
def test_a_record_without_a_field_is_no_record(tmp_path: Path, field: str) -> None:
    out = tmp_path / "F"
    frozen_in(out)
    content = json.loads((out / "freeze.json").read_text())
    del content[field]
    if field != "digest":
        content["digest"] = digest_json({k: v for k, v in content.items() if k != "digest"})
    (out / "freeze.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=field):
        load_frozen(out)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "evalsuite/seal/1"}', "not json"])
def test_another_file_is_not_taken_for_one(tmp_path: Path, text: str) -> None:
    frozen_in(tmp_path / "F")
    (tmp_path / "F" / "freeze.json").write_text(text)
    with pytest.raises(IntegrityError):
        load_frozen(tmp_path / "F")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    frozen_in(tmp_path / "F")
    with pytest.raises(OutputError, match="holds a frozen protocol already"):
        frozen_in(tmp_path / "F")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        frozen_in(tmp_path / "file")
