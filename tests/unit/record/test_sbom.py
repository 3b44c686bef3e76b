"""The bill of materials says what the record says, and nothing else."""

from __future__ import annotations

from evalsuite.record.sbom import bill_of_materials

RECORD = {
    "run": {"id": "3f2a", "finished_utc": "2026-01-05T10:00:00.000Z"},
    "software": {
        "evalsuite": "0.1.0",
        "python": "3.11.7",
        "packages": {"evalsuite": "0.1.0", "torch": "2.13.0+cpu", "numpy": "2.4.6"},
    },
    "platform": {"os": "Linux 6.1", "torch": {"cuda": None, "cudnn": None}},
    "model": {"name": "net", "digest": "a" * 64},
    "baseline": {"name": "old net", "digest": "b" * 64},
}


def test_every_package_has_an_address_and_the_device_its_digest() -> None:
    made = bill_of_materials(RECORD)
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.6", 1)
    found = {c["name"]: c for c in made["components"]}
    assert found["torch"]["purl"] == "pkg:pypi/torch@2.13.0%2Bcpu"
    assert "evalsuite" not in found
    assert made["metadata"]["component"]["name"] == "evalsuite"
    assert (found["Linux"]["type"], found["Linux"]["version"]) == ("operating-system", "6.1")
    assert found["net"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert found["old net"]["description"] == "comparator"
    assert "CUDA" not in found
    assert made["dependencies"][0]["dependsOn"] == [found["numpy"]["purl"], found["torch"]["purl"]]


def test_the_same_run_has_the_same_serial_number() -> None:
    made = bill_of_materials(RECORD)
    assert made == bill_of_materials(RECORD)
    other = bill_of_materials({**RECORD, "run": {**RECORD["run"], "id": "4f2a"}})
    assert other["serialNumber"] != made["serialNumber"]


def test_a_record_that_says_little_makes_a_short_bill() -> None:
    made = bill_of_materials({"run": RECORD["run"], "software": {"evalsuite": "0.1.0"}})
    assert made["components"] == []
