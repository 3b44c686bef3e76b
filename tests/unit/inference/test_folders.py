"""Programs and containers: what they are given, what is read back, and how each way of failing ends."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from inference_fakes import make_testset

from evalsuite.errors import ContractError, InputError, Interrupted, ModelLoadError, ModelRunError
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.open import inspect_model, open_model
from evalsuite.testset.types import Case, LockedTestSet

SETTINGS = InferenceSettings(device="cpu", seed=3)
N = 7
PROGRAM = """
import json, os, sys, time
source, target, mode = sys.argv[1], sys.argv[2], open(os.path.join(os.path.dirname(__file__), "mode")).read().strip()
listed = json.load(open(source + "/cases.json"))["cases"]
rows = []
for case in listed:
    with open(os.path.join(source, case["images"]["image"]), "rb") as file:
        rows.append({"case": case["case"], "p_bad": sum(file.read()) % 997 / 997})
print("saw", len(listed), "cases", sorted(os.environ), flush=True)
if mode == "crash":
    print("libfoo: cannot open the model", file=sys.stderr); sys.exit(3)
if mode == "killed":
    os.kill(os.getpid(), 9)
if mode == "hang":
    time.sleep(300)
if mode == "flood":
    sys.stdout.write("x" * 3_000_000)
if mode == "rejects":
    rows[0] = {"case": rows[0]["case"], "status": "rejected", "reason": "DOE^JANE"}
    rows[1] = {"case": rows[1]["case"], "status": "indeterminate"}
    rows[2] = {"case": rows[2]["case"], "p_bad": None}
    del rows[3]
if mode == "range":
    rows = [{**row, "p_bad": 7.5} for row in rows]
if mode == "word":
    rows[0]["p_bad"] = "high"
if mode == "twice":
    rows.append(rows[0])
if mode == "invented":
    rows.append({"case": "999999", "p_bad": 0.5})
if mode == "writes back":
    open(os.path.join(source, listed[0]["images"]["image"]), "wb").write(b"changed")
if mode == "nothing":
    sys.exit(0)
if mode == "rot":
    open(target + "/predictions.json", "w").write("[1, 2"); sys.exit(0)
if mode == "link":
    os.symlink("/etc/passwd", target + "/predictions.csv"); sys.exit(0)
if mode == "csv":
    with open(target + "/predictions.csv", "w") as file:
        file.write("case,p_bad\\n" + "".join(f"{r['case']},{r['p_bad']!r}\\n" for r in rows))
else:
    json.dump({"cases": rows}, open(target + "/predictions.json", "w"))
"""
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "vendor box",
    "inputs": [{"name": "image", "shape": [1, None, None]}],
    "outputs": [{"name": "bad", "meaning": "probabilities", "classes": ["bad"]}],
    "cases_per_call": 3,
    "timeout_s": 120,
}


@pytest.fixture
def testset(tmp_path) -> LockedTestSet:
    folder = tmp_path / "pictures of Jane"
    folder.mkdir()
    rng = np.random.default_rng(2)
    cases = []
    for i in range(N):
        path = folder / f"DOE_JANE_{i}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (12, 12), dtype=np.uint8))
        cases.append(
            Case(
                case_id=f"jane{i}", patient_id=f"p{i}", study_id="", site="", acquired_at="", sample_weight=None,
                images={"picture": (path,)},
            )
        )  # fmt: skip
    lock = make_testset(0)
    return LockedTestSet(
        path=folder, lock={}, root=lock.root, digest=lock.digest, set_id="s", version="1", cases=tuple(cases),
        has_images=True,
    )  # fmt: skip


@pytest.fixture
def package(tmp_path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "run.py").write_text(PROGRAM)
    write(folder)
    return folder


def write(folder: Path, mode: str = "", **changes: object) -> None:
    (folder / "mode").write_text(mode)
    command = {"cmd": ["{python}", "-S", "-I", "{package}/run.py", "{input}", "{output}"]}
    (folder / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, **command, **changes}))


def expected(testset: LockedTestSet) -> np.ndarray:
    return np.array([sum(c.images["picture"][0].read_bytes()) % 997 / 997 for c in testset.cases])


@pytest.mark.parametrize("mode", ["", "csv", "flood", "writes back"])
def test_a_program_answers_every_case_in_calls_of_the_size_asked_for(package, testset, tmp_path, mode):
    write(package, mode)
    wanted = expected(testset)
    model = open_model(package)
    found = predict(model, testset, settings=SETTINGS, work=tmp_path / "work")
    assert found.outputs == ("p_bad",)
    np.testing.assert_array_equal(found.table["p_bad"], wanted)
    assert found.record["inference"]["shards"] == 3
    assert found.record["inference"]["rerun"]["bitwise_equal"] is True
    np.testing.assert_array_equal(expected(testset), wanted)  # the locked files are as they were
    model.keep_log(tmp_path / "logs" / "model.log")
    printed = (tmp_path / "logs" / "model.log").read_text()
    assert printed.startswith("saw ")
    assert len(printed) <= 2**20
    model.close()


def test_it_sees_no_identifier_no_file_name_and_no_environment(package, testset, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    look = "print([str(x) for x in os.walk(source)], open(source + '/cases.json').read(), sys.argv, list(os.environ))"
    (package / "run.py").write_text(PROGRAM.replace("rows = []", f"rows = []; {look}", 1))
    model = open_model(package)
    predict(model, testset, settings=SETTINGS, work=tmp_path / "work")
    printed = model.log.read_text()
    assert "000001/image.png" in printed
    for secret in ("jane", "JANE", "SECRET_TOKEN", "Jane"):
        assert secret not in printed


def test_rejected_and_missing_cases_are_told_apart(package, testset, tmp_path):
    write(package, "rejects", cases_per_call=7)
    found = predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "work")
    assert found.table["status"].tolist() == ["rejected", "indeterminate", "failed", "failed", "ok", "ok", "ok"]
    assert "DOE" not in found.table.to_csv()
    assert found.record["inference"]["failed_by_reason"]["the model gave no output"] == 1


def test_a_case_without_an_image_is_that_cases_failure_and_a_lost_file_stops_the_run(package, testset, tmp_path):
    cases = [replace(c, images={}) if i == 2 else c for i, c in enumerate(testset.cases)]
    found = predict(
        open_model(package), replace(testset, cases=tuple(cases)), settings=SETTINGS, work=tmp_path / "work"
    )
    assert found.table["status"].tolist() == ["ok", "ok", "failed", "ok", "ok", "ok", "ok"]
    assert found.table["reason"][2] == "no image"
    testset.cases[3].images["picture"][0].unlink()
    with pytest.raises(InputError, match="No such file"):
        predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "other")


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("crash", "ended with exit code 3: libfoo: cannot open the model"),
        ("killed", "was ended by SIGKILL"),
        ("nothing", "wrote no predictions.json or predictions.csv"),
        ("link", "wrote no predictions.json or predictions.csv"),
        ("rot", "cannot be read as a list of cases"),
        ("word", "gave a p_bad that is not a number"),
        ("twice", "names a case twice"),
        ("invented", "answered 1 cases that it was not given"),
    ],
)
def test_every_failure_of_the_program_is_typed(package, testset, tmp_path, mode, said):
    write(package, mode)
    with pytest.raises(ModelRunError, match=said) as caught:
        predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "work")
    assert caught.value.exit_code == 4


def test_a_program_that_hangs_is_ended_with_its_children(package, testset, tmp_path):
    write(package, "hang", timeout_s=3)
    with pytest.raises(ModelRunError, match="took longer than 3 s"):
        predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "work")


def test_a_lying_contract_is_found_before_the_run(package, testset, tmp_path):
    write(package, "range")
    with pytest.raises(ModelRunError, match=r"keep its contract: .* gives values from 7\.5 to 7\.5"):
        predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "work")
    write(package, inputs=[{"name": "image", "shape": [1, 99, 99]}])
    with pytest.raises(ContractError, match=r"99 × 99") as caught:
        predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "work")
    assert "12 × 12" in str(caught.value)
    write(package, outputs=[{"name": "bad", "activation": "sigmoid", "classes": ["bad"]}])
    with pytest.raises(ContractError, match="finished numbers"):
        predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "work")


def test_a_stopped_run_goes_on_with_the_same_bytes(package, testset, tmp_path):
    whole = predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "whole")
    asked = iter([False, True])
    with pytest.raises(Interrupted, match="3 of 7 cases are stored"):
        predict(
            open_model(package), testset, settings=SETTINGS, work=tmp_path / "work", should_stop=lambda: next(asked)
        )
    rest = predict(open_model(package), testset, settings=SETTINGS, work=tmp_path / "work")
    assert rest.record["inference"]["resumed_shards"] == 1
    pd.testing.assert_frame_equal(rest.table, whole.table)
    assert rest.digest == whole.digest


def test_a_program_of_the_package_must_be_there_and_executable(package):
    write(package, cmd=["./tool", "{input}"])
    with pytest.raises(ModelLoadError, match=r"\./tool is not a file of the package"):
        open_model(package)
    (package / "tool").write_text("#!/bin/sh\n")
    with pytest.raises(ModelLoadError, match="not executable"):
        open_model(package)
    write(package, cmd=["no-such-program-anywhere"])
    found = inspect_model(package)
    assert found["executes"] == "the command no-such-program-anywhere"
    assert found["runs"] == "apart"


def fake_runtime(folder: Path, kind: str, *, works: bool = True) -> Path:
    """A container runtime that keeps its arguments and runs the package's program on the folders bound to it."""
    folder.mkdir(exist_ok=True)
    path = folder / kind
    path.write_text(
        f"#!{sys.executable} -SI\n"
        f"""
import json, os, re, subprocess, sys
here = os.path.dirname(os.path.abspath(__file__))
with open(here + "/calls", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if not {works}:
    print("no daemon", file=sys.stderr); sys.exit(1)
what = sys.argv[1]
if what == "--version":
    print("{kind} version 9.9")
elif what == "load":
    print("Loaded image: localhost/box:1")
elif what == "image":
    if sys.argv[3] == "absent":
        sys.exit(1)
    print(json.dumps([{{"Id": "sha256:" + "ab" * 32}}]))
elif what == "run":
    bind = re.compile(r"--(?:volume|bind)=(.*?):(/\\w+):r[ow]$")
    binds = dict(reversed(m.groups()) for a in sys.argv if (m := bind.match(a)))
    sys.exit(subprocess.call([sys.executable, "-SI", os.environ["BOX_PROGRAM"], binds["/input"], binds["/output"]]))
"""
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


@pytest.fixture
def box(package, tmp_path, monkeypatch) -> Path:
    """The package as a container, and an empty place for runtimes."""
    image = tmp_path / "image"
    image.mkdir()
    (image / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, "container": {"image": "box:1"}}))
    monkeypatch.setenv("BOX_PROGRAM", str(package / "run.py"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return image


@pytest.mark.parametrize("kind", ["podman", "docker"])
def test_a_container_runs_without_network_and_without_fetching(box, testset, tmp_path, kind):
    runtimes = fake_runtime(tmp_path / "bin", kind)
    model = open_model(box)
    found = predict(model, testset, settings=SETTINGS, work=tmp_path / "work")
    np.testing.assert_array_equal(found.table["p_bad"], expected(testset))
    run = next(c for c in calls(runtimes) if c[0] == "run")
    for needed in ("--network=none", "--pull=never", "--read-only", "--cap-drop=ALL", "--rm", "--pids-limit=1024"):
        assert needed in run
    assert run[-1] == "sha256:" + "ab" * 32
    assert found.record["inference"]["sandbox"] == f"{kind}, no network, read-only root, no capabilities"
    assert any(f"{kind} version 9.9" in note for note in model.notes)


def test_the_digest_covers_the_image(box, tmp_path):
    runtimes = fake_runtime(tmp_path / "bin", "podman")
    before = open_model(box).digest
    program = runtimes / "podman"
    program.write_text(program.read_text().replace('"ab"', '"cd"'))
    assert open_model(box).digest != before


def test_an_archive_is_loaded_and_named_by_its_identity(box, testset, tmp_path):
    fake_runtime(tmp_path / "bin", "podman")
    (box / "box.tar").write_bytes(b"image")
    (box / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, "container": {"archive": "box.tar"}}))
    model = open_model(box)
    assert model.runner.image == "sha256:" + "ab" * 32
    (box / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, "container": {"archive": "none.tar"}}))
    with pytest.raises(ModelLoadError, match=r"none\.tar is not a file of the package"):
        open_model(box)


def test_apptainer_runs_a_sif_file(box, testset, tmp_path):
    runtimes = fake_runtime(tmp_path / "bin", "apptainer")
    (box / "box.sif").write_bytes(b"image")
    (box / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, "container": {"archive": "box.sif"}}))
    found = predict(open_model(box), testset, settings=SETTINGS, work=tmp_path / "work")
    assert (found.table["status"] == "ok").all()
    run = next(c for c in calls(runtimes) if c[0] == "run")
    assert "--containall" in run
    assert "--network=none" in run
    (box / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, "container": {"image": "box:1"}}))
    with pytest.raises(ModelLoadError, match="runs images from files"):
        open_model(box)


def test_runtimes_that_are_absent_or_dead_are_named(box, tmp_path):
    with pytest.raises(ModelLoadError, match="no container runtime is here: podman, docker, apptainer, singularity"):
        open_model(box)
    fake_runtime(tmp_path / "bin", "docker", works=False)
    with pytest.raises(ModelLoadError, match="docker is installed and does not work") as caught:
        open_model(box)
    assert caught.value.exit_code == 4
    fake_runtime(tmp_path / "bin", "podman")
    (box / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, "container": {"image": "absent"}}))
    with pytest.raises(ModelLoadError, match="podman has no image absent"):
        open_model(box)


def test_a_container_that_hangs_is_killed_by_name(box, testset, tmp_path, package):
    runtimes = fake_runtime(tmp_path / "bin", "podman")
    (package / "mode").write_text("hang")
    (box / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, "container": {"image": "box:1"}, "timeout_s": 3}))
    with pytest.raises(ModelRunError, match="took longer than 3 s"):
        predict(open_model(box), testset, settings=SETTINGS, work=tmp_path / "work")
    kill, run = (next(c for c in calls(runtimes) if c[0] == what) for what in ("kill", "run"))
    assert f"--name={kill[1]}" in run


@pytest.mark.skipif(os.environ.get("EVALSUITE_TEST_IMAGE") is None, reason="EVALSUITE_TEST_IMAGE names no image")
def test_a_real_runtime_gives_the_folders_and_no_network(testset, tmp_path):
    """With e.g. EVALSUITE_TEST_IMAGE=python:3.12-slim present in podman or docker."""
    box = tmp_path / "image"
    box.mkdir()
    script = (
        "import json,socket;c=json.load(open('/input/cases.json'))['cases'];s=socket.socket();s.settimeout(2);"
        "e=s.connect_ex(('192.0.2.1',80));assert e;"
        "json.dump([{'case':x['case'],'p_bad':0.5} for x in c],open('/output/predictions.json','w'))"
    )
    spec = {"image": os.environ["EVALSUITE_TEST_IMAGE"], "args": ["python3", "-c", script]}
    (box / "evalsuite-model.yaml").write_text(json.dumps({**CONTRACT, "container": spec}))
    found = predict(open_model(box), testset, settings=SETTINGS, work=tmp_path / "work")
    assert (found.table["p_bad"] == 0.5).all()
