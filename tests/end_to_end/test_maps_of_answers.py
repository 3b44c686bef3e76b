"""Maps of a real classifier by the command line: asked for in a protocol, made in the sandbox, sealed with the run."""

from __future__ import annotations

import json
import signal

import pandas as pd
import pytest

from evalsuite.cli import console
from evalsuite.errors import ProtocolError
from evalsuite.protocol.load import load_protocol

from .conftest import protocol_text
from .test_real_data import DERM

pytestmark = pytest.mark.traced
ASKED = {
    "cases": 3,
    "methods": [{"method": "grad_cam"}, {"method": "deep_lift"}],
    "measures": ["randomisation", "deletion"],
    "fractions": 2,
}


def ends_when_maps_begin(self, stage, done, total):
    """In the place of progress: somebody ends the command as soon as its maps begin."""
    if stage == "attribute":
        signal.raise_signal(signal.SIGTERM)


def test_maps_of_a_real_classifier_from_the_protocol_to_the_seal(
    shared_real, tmp_path, cli, sandbox_flags, monkeypatch
):
    source = shared_real / "derm_ham10000"
    frame = pd.read_csv(source / "labels.csv", dtype=str, keep_default_na=False)
    chosen = pd.concat([group.head(3) for _, group in frame.groupby("malignant")]).sort_index()
    chosen["image"] = [str(source / name) for name in chosen["image"]]
    chosen.to_csv(tmp_path / "cases.csv", index=False)
    text = protocol_text(**{**DERM, "strata": [], "analyses": {"interpretability": ASKED}})
    (tmp_path / "protocol.yaml").write_text(text)
    locked = cli("lock", tmp_path / "cases.csv", "--protocol", tmp_path / "protocol.yaml", "--out", tmp_path / "set")
    assert locked.code == 0, locked.err
    package = shared_real / "models" / "derm_mnv2_7class" / "bundle"
    run = ("run", tmp_path / "protocol.yaml", "--testset", tmp_path / "set", "--out", tmp_path / "run")
    recorded = cli(*run, "--model", source / "predictions_derm_mnv2_7class.csv")
    assert recorded.code == 2
    assert "answers alone" in recorded.err
    run = (*run, "--model", package, "--threads", 1, *sandbox_flags)
    with monkeypatch.context() as m:
        m.setattr(console.Stages, "__call__", ends_when_maps_begin)
        stopped = cli(*run)
    assert stopped.code == 130, stopped.err
    assert "goes on where it stopped" in stopped.err
    assert not list((tmp_path / "run" / "work" / "attribution").glob("*.json"))
    done = cli(*run)
    assert done.code in (0, 1), done.err
    assert "27 image passes" in done.err  # 3 cases of 1 unchanged, 1 map, 1 shuffled, 5 orders half deleted, 1 emptied
    folder = tmp_path / "run" / "arrays" / "attribution"
    index = pd.read_parquet(folder / "index.parquet")
    assert sorted(set(index["method"])) == ["baseline_centre", "baseline_edges", "baseline_image", "grad_cam"]
    assert all((folder / name).is_file() for name in index["file"])
    record = json.loads((tmp_path / "run" / "record.json").read_text())["interpretability"]
    assert sum(record["passes"].values()) == record["planned_passes"] == 27
    assert "tree of modules" in record["refused"]["deep_lift"]
    findings = json.loads((tmp_path / "run" / "evidence.json").read_text())["findings"]
    named = {
        (f["endpoint"], f["metric"], f["reference_group"]) for f in findings if f["analysis"] == "interpretability"
    }
    assert ("grad_cam", "randomisation_ssim", "another patient's map") in named
    assert ("baseline_edges", "deletion_auc", None) in named
    verified = cli("verify", tmp_path / "run")
    assert verified.code == 0, verified.err
    moved = folder / index["file"][0]
    moved.write_bytes(moved.read_bytes()[:-1])
    assert cli("verify", tmp_path / "run").code == 3


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"methods": [{"method": "grad_cam", "steps": 5}]}, "no setting of grad_cam"),
        ({"methods": [{"method": "rise"}, {"method": "rise"}]}, "two methods are called 'rise'"),
        ({"methods": [{"method": "gradcam"}]}, "methods[0].method"),
        ({"methods": [{"method": "rise"}], "measures": ["road", "road"]}, "named twice"),
    ],
)
def test_what_cannot_be_asked_for_is_said_with_its_place(asked, said, tmp_path):
    (tmp_path / "protocol.yaml").write_text(protocol_text(analyses={"interpretability": asked}))
    with pytest.raises(ProtocolError) as caught:
        load_protocol(tmp_path / "protocol.yaml")
    assert said in str(caught.value)
