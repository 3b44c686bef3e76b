"""Audits of a deployment from the log to the history: what is refused, what goes on, and what nobody can change."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from evalsuite.cli.app import app
from evalsuite.errors import InputError, ProtocolError
from evalsuite.protocol.load import load_protocol
from evalsuite.record.canonical import read_json
from evalsuite.report import build_dossier
from evalsuite.report.anchors import untraced
from evalsuite.report.view import Section
from evalsuite.spine import Who, audit, freeze, lock, run, score_stage, verify
from evalsuite.spine import audit_history as histories
from evalsuite.spine.auditing import AuditResult
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.history import open_ledger
from evalsuite.spine.running_score import remembered_set
from evalsuite.testset import open_testset
from evalsuite.testset.encryption import write_reference_key
from evalsuite.types import Evidence, Verdict
from tests.small_dicom import write_dicom


def _simulation(checkout: Path) -> ModuleType:
    path = checkout / "examples" / "drift_audit" / "simulate.py"
    spec = importlib.util.spec_from_file_location("drift_simulation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


pytestmark = pytest.mark.usefixtures("no_report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A validated device, a folder for audits, and months of its log."""

    path: Path
    protocol: Path
    sim: ModuleType

    def month(self, name: str, n: int = 120, *, seed: int = 50, **world: float) -> Path:
        rows = self.sim.cases(self.sim.World(**world), n, prefix=name, seed=seed)
        return Path(self.sim.write(self.path / f"{name}.csv", rows))

    def audit(self, name: str, window: Path, *, utc: str = "2026-03-01T10:00:00.000Z", **more: Any) -> AuditResult:
        who = Who(actor="qa", now=lambda: utc)
        arguments: dict[str, Any] = {"history": str(self.path / "history.sqlite"), **more}
        return audit(
            self.protocol, window=window, baseline=self.path / "base", out=self.path / name, who=who, **arguments
        )

    @property
    def audits(self) -> tuple[histories.Audit, ...]:
        return histories.audits(histories.open_history(str(self.path / "history.sqlite"), "default"))


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Deployment:
    path, sim = tmp_path_factory.mktemp("deployment"), _simulation(checkout)
    rows = sim.cases(sim.World(), 300, prefix="val", seed=1)
    inputs = ("case_id", "patient_id", "malignant", "scanner", "sex", "age")
    sim.write(path / "val.csv", rows, inputs)
    sim.write(path / "outputs.csv", rows, ("case_id", "p_malignant", "status", "model_digest"))
    who = Who(actor="lab", now=lambda: "2026-01-10T10:00:00.000Z")
    lock(path / "val.csv", out=path / "val", who=who, reference=list(inputs[2:]))
    study = checkout / "examples" / "drift_audit" / "log_validation.yaml"
    freeze(study, testset_path=path / "val", model_path=path / "outputs.csv", out=path / "frozen", who=who)
    run(path / "frozen", testset_path=path / "val", model_path=path / "outputs.csv", out=path / "base", who=who)
    shipped = (checkout / "protocols" / "drift_audit.yaml").read_text(encoding="utf-8")
    protocol = path / "audit.yaml"  # as few reshuffles as its levels need, and few resamples
    few = shipped.replace("    outputs: true\n", "    outputs: true\n    shuffles: 3000\n")
    few = few.replace("\nstrata:", "\nconfidence: {bootstrap: {replicates: 100, interval: percentile}}\nstrata:")
    protocol.write_text(few, encoding="utf-8")
    return Deployment(path=path, protocol=protocol, sim=sim)


def made_by(run_folder: Path) -> str:
    return str(read_json(run_folder / "record.json")["run"]["id"])


def dossier_of(folder: RunFolder) -> tuple[Section, ...]:
    """What the report of a run says; its layout has tests of its own."""
    evidence = Evidence.from_json(read_json(folder.evidence))
    verdict = Verdict.from_json(read_json(folder.verdict))
    return build_dossier(load_protocol(folder.protocol), evidence, verdict, read_json(folder.record)).sections


@pytest.fixture
def deployment(validated: Deployment, tmp_path: Path) -> Deployment:
    (tmp_path / "base").symlink_to(validated.path / "base", target_is_directory=True)
    return replace(validated, path=tmp_path)


def test_audits_follow_each_other_and_a_loss_of_sensitivity_is_found(deployment: Deployment) -> None:
    first = deployment.audit("a1", deployment.month("jan", 200))
    assert first.run.verdict.overall == "met"
    assert first.run.verdict.evidence
    assert first.standing.last.status in ("normal", "warning")
    assert first.standing.last.next_due == "2026-04-01"
    worse = deployment.audit("a2", deployment.month("feb", 200, separation=0.8), utc="2026-04-01T10:00:00.000Z")
    assert worse.run.verdict.overall == "not_met"
    status = {i["name"]: i["status"] for i in worse.standing.last.indicators}
    assert status["Performance: sensitivity"] == "action"
    assert status["Input: scanner"] == "normal"
    assert worse.standing.last.left["alarmed"] == ["sensitivity"]
    assert untraced(dossier_of(RunFolder(deployment.path / "a2"))) == []
    # The baseline's reference standard was read for each of them, and its set's ledger says so; not as a use of it.
    baseline = deployment.path / "base"
    kept = open_ledger(remembered_set(read_json(baseline / "record.json")))
    read = [e for e in kept.append(lambda _: None) if e.action == "reference_read"]
    assert [(e.actor, e.objects["baseline_run"]) for e in read[-2:]] == [("qa", made_by(baseline))] * 2
    assert len({e.objects["window"] for e in read}) == len(read)
    assert verify(baseline).intact
    earlier = read_json(deployment.path / "a2" / "drift_earlier.json")
    assert [a["run"] for a in earlier["audits"]] == [deployment.audits[0].run]
    # Everything that evidence needs is sealed in the run: scored again without the baseline it comes out the same.
    evidence = (deployment.path / "a2" / "evidence.json").read_bytes()
    (deployment.path / "base").unlink()
    score_stage(deployment.path / "a2", testset_path=None, who=Who(actor="qa", now=lambda: "2026-04-02T00:00:00.000Z"))
    assert (deployment.path / "a2" / "evidence.json").read_bytes() == evidence
    assert verify(deployment.path / "a2").intact


def test_the_same_command_again_adds_nothing_and_an_interrupted_one_goes_on(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = deployment.month("jan")

    def power_cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("evalsuite.spine.running.evaluate_and_judge", power_cut)
        with pytest.raises(KeyboardInterrupt):
            deployment.audit("a1", window)
    assert deployment.audits == ()
    with monkeypatch.context() as patch:  # sealed, and stopped before its line was in the history
        patch.setattr("evalsuite.spine.auditing._recorded", power_cut)
        with pytest.raises(KeyboardInterrupt):
            deployment.audit("a1", window)
    assert deployment.audits == ()
    made = deployment.audit("a1", window)
    again = deployment.audit("a1", window, utc="2026-03-09T10:00:00.000Z")
    assert again.run.already_done
    assert len(deployment.audits) == 1
    assert again.standing.last == made.standing.last
    with pytest.raises(InputError, match="another window"):
        deployment.audit("a1", deployment.month("other"))


def test_two_audits_at_once_and_a_clock_that_goes_back_leave_the_history_as_it_is(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = histories.append

    def somebody_was_faster(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(histories, "append", recorded)
        deployment.audit("faster", deployment.month("fast"))
        return recorded(*arguments, **more)

    monkeypatch.setattr(histories, "append", somebody_was_faster)
    with pytest.raises(InputError, match="recorded while this one was under way"):
        deployment.audit("slower", deployment.month("slow"))
    assert len(deployment.audits) == 1
    with pytest.raises(InputError, match="The clock says"):
        deployment.audit("back", deployment.month("back"), utc="2026-02-01T10:00:00.000Z")
    assert len(deployment.audits) == 1


def test_what_is_no_window_of_this_deployment_is_refused(deployment: Deployment) -> None:
    """By the command, as a cron job meets it: exit code 2, the words, and a history that stays as it was."""
    window = deployment.month("jan", 40)
    text = window.read_text(encoding="utf-8")
    history, runner = deployment.path / "history.sqlite", CliRunner()

    def refused(name: str, new: str | None, *, baseline: Path | None = None, more: tuple[str, ...] = ()) -> str:
        path = deployment.path / f"{name}.csv"
        if new is not None:
            path.write_text(new, encoding="utf-8")
        held = str(baseline or deployment.path / "base")
        out = str(deployment.path / name)
        command = ["audit", str(deployment.protocol), "--window", str(path), "--baseline", held, "--out", out]
        done = runner.invoke(app, [*command, "--history", str(history), *more])
        assert done.exit_code == 2, done.output
        return " ".join(done.output.split())

    overlapping = refused("o", text.replace("jan-00003,", "val-00003,"))
    assert "shares 1 cases with the baseline" in overlapping
    assert "val-00003" in overlapping
    assert "not those of the model" in refused("d", text.replace("5e5e\n", "aaaa\n", 1))
    assert "does not have the deployment's outputs" in refused("p", text.replace("p_malignant", "probability"))
    assert "problem" in refused("c", text.replace("scanner", "machine"))
    assert "cannot be read" in refused("nothing", None)
    assert "not a finished run" in refused("b", text, baseline=deployment.path)
    unknown = text + f"unseen,unseen-p,1,Alpha 1,male,50,,,{deployment.sim.DEVICE}\n"  # a label, and no output
    never = refused("u", unknown)
    assert "knows nothing of 1 cases" in never
    assert "case unseen" in never
    assert "belong together" in refused("f", text, more=("--former", str(deployment.path / "base")))
    same = ("--former", str(deployment.path / "base"), "--former-outputs", str(window))
    assert "is the model of the baseline" in refused("s", text, more=same)
    assert deployment.audits == ()
    path = deployment.path / "o.csv"  # what was refused is corrected, and the same command goes through
    path.write_text(text, encoding="utf-8")
    deployment.audit("o", path, utc="2999-01-01T00:00:00.000Z")
    assert "counted in an earlier audit" in refused("t", text)
    assert "The clock says" in refused("k", deployment.month("feb", 40).read_text(encoding="utf-8"))
    assert len(deployment.audits) == 1


@pytest.mark.full_pdf
def test_a_folder_of_dicom_with_the_prediction_log_is_a_window(deployment: Deployment) -> None:
    log = deployment.month("jan", 40)
    rows = log.read_text(encoding="utf-8").splitlines()
    names = rows[0].split(",")
    keep = [i for i, name in enumerate(names) if name != "patient_id"]  # who the patients are, the files say
    cells = [[row.split(",")[i] for i in keep] for row in rows]
    files = deployment.path / "pacs"
    for i, row in enumerate(cells[1:]):
        row[0] = write_dicom(files / f"{i % 3}" / f"{i}.dcm", seed=i, patient=f"MRN{i // 2}")["SOPInstanceUID"]
    (files / "readme.txt").write_text("no image", encoding="utf-8")
    log.write_text("\n".join(",".join(row) for row in cells) + "\n", encoding="utf-8")
    out = deployment.path / "a1"
    command = ["audit", str(deployment.protocol), "--baseline", str(deployment.path / "base"), "--out", str(out)]
    command += ["--history", str(deployment.path / "history.sqlite")]
    runner = CliRunner()
    alone = runner.invoke(app, [*command, "--window", str(files)])
    assert alone.exit_code == 2
    assert "--log PREDICTIONS" in " ".join(alone.output.split())
    uid = runner.invoke(app, [*command, "--window", str(log), "--case-uid", "SeriesInstanceUID"])
    assert uid.exit_code == 2
    assert "belongs to --log" in " ".join(uid.output.split())
    done = runner.invoke(app, [*command, "--window", str(files), "--log", str(log)])
    assert done.exit_code in (0, 1), done.output
    window = open_testset(Path(f"{out}.window") / "testset")  # every file is bound, and as it was
    assert [c.case_id for c in window.cases] == [row[0] for row in cells[1:]]
    assert len(window.lock["files"]) == 40
    assert len({c.patient_id for c in window.cases}) == 20
    assert runner.invoke(app, ["report", str(out)]).exit_code == done.exit_code
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert verify(out).intact
    table = Path(f"{out}.window") / "cases.csv"
    assert "MRN" not in table.read_text(encoding="utf-8")
    again = runner.invoke(app, [*command, "--window", str(files / "*" / "*.dcm"), "--log", str(log)])
    assert again.exit_code == done.exit_code, again.output
    assert len(deployment.audits) == 1
    (files / "0" / "0.dcm").unlink()
    short = runner.invoke(app, [*command, "--window", str(files), "--log", str(log)])
    assert short.exit_code == 2
    assert "1 rows of the log have no file" in " ".join(short.output.split())


def test_an_encrypted_baseline_needs_its_key_and_stays_encrypted(deployment: Deployment, checkout: Path) -> None:
    path, validated = deployment.path, deployment.path / "base"
    key, other = write_reference_key(path / "reference.key"), write_reference_key(path / "other.key")
    who = Who(actor="lab", now=lambda: "2026-01-10T10:00:00.000Z")
    of = validated.resolve().parent
    study, testset, outputs = (
        checkout / "examples" / "drift_audit" / "log_validation.yaml",
        path / "val",
        of / "outputs.csv",
    )
    columns = ["malignant", "scanner", "sex", "age"]
    lock(of / "val.csv", out=testset, who=who, reference=columns, set_id="val", reference_key=key)
    freeze(study, testset_path=testset, model_path=outputs, out=path / "frozen", who=who)
    bound: dict[str, Any] = {"testset_path": testset, "model_path": outputs, "who": who}
    run(path / "frozen", out=path / "hidden", reference_key=key, **bound)
    window, runner = deployment.month("jan"), CliRunner()
    plain = deployment.audit("plain", window, history=str(path / "plain.sqlite"))
    hidden = replace(deployment, path=path / "of_hidden")
    hidden.path.mkdir()
    (hidden.path / "base").symlink_to(path / "hidden", target_is_directory=True)
    for given, code, said in (
        ((), 2, "--reference-key"),
        (("--reference-key", str(path / "other.key")), 3, other.keyid),
    ):
        command = ["audit", str(deployment.protocol), "--window", str(window), "--baseline", str(path / "hidden")]
        done = runner.invoke(app, [*command, "--out", str(hidden.path / "a1"), *given])
        assert done.exit_code == code, done.output
        assert said in "".join(done.output.split())
    made = hidden.audit("a1", window, reference_key=key)
    out = made.run.folder
    # The same figures as of the baseline in the clear, and no file of the run that has its reference standard.
    evidence = out.evidence.read_bytes()
    assert read_json(out.evidence)["findings"] == read_json(plain.run.folder.evidence)["findings"]
    assert plain.run.folder.drift_baseline.exists()
    assert not out.drift_baseline.exists()
    assert b"PAR1" not in out.drift_ciphertext.read_bytes()
    assert verify(out.path).intact
    assert hidden.audit("a1", window, reference_key=key).run.already_done
    later = Who(actor="qa", now=lambda: "2026-03-09T10:00:00.000Z")
    with pytest.raises(InputError, match="--reference-key"):
        score_stage(out.path, testset_path=None, who=later)
    assert verify(out.path).intact
    score_stage(out.path, testset_path=None, who=later, reference_key=key)
    assert out.evidence.read_bytes() == evidence
    assert verify(out.path).intact
    with pytest.raises(InputError, match="is not encrypted"):
        score_stage(plain.run.folder.path, testset_path=None, who=later, reference_key=key)


def test_limits_stay_for_a_calendar_and_a_calendar_ends(deployment: Deployment, checkout: Path) -> None:
    text = deployment.protocol.read_text(encoding="utf-8").replace("audits: 12", "audits: 1")
    own = deployment.path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    short = replace(deployment, protocol=own)
    short.audit("a1", short.month("jan", 60))
    with pytest.raises(InputError, match="its budget of false alarms is spent"):
        short.audit("a2", short.month("feb", 60))
    own.write_text(text.replace("warning: 0.80", "warning: 0.75"), encoding="utf-8")
    with pytest.raises(InputError, match="not the one that earlier audits"):
        short.audit("a3", short.month("mar", 60))
    own.write_text(text.replace("1.0.0", "1.1.0"), encoding="utf-8")
    short.audit("a4", short.month("apr", 60))
    assert [a.protocol_version for a in short.audits] == ["1.0.0", "1.1.0"]
    with pytest.raises(ProtocolError, match="is no drift audit"):
        replace(deployment, protocol=checkout / "examples" / "drift_audit" / "log_validation.yaml").audit("x", own)
    with pytest.raises(ProtocolError, match="is a drift audit, which needs a window"):
        run(
            deployment.protocol,
            testset_path=short.path / "a1.window" / "testset",
            model_path=short.path / "a1.window" / "predictions.csv",
            out=short.path / "r",
            who=Who(actor="qa", now=lambda: "2026-03-01T10:00:00.000Z"),
        )


def test_check_says_whether_somebody_has_to_act(deployment: Deployment) -> None:
    history = deployment.path / "history.sqlite"
    runner = CliRunner()
    nothing = runner.invoke(app, ["audit", "--check", "--history", str(history)])
    assert nothing.exit_code == 2
    deployment.audit("a1", deployment.month("jan", 200), utc="2999-03-01T10:00:00.000Z")
    metrics = deployment.path / "evalsuite.prom"
    command = ["audit", "--check", "--history", str(history), "--prometheus", str(metrics), "--json"]
    well = runner.invoke(app, command)
    assert well.exit_code == 0, well.output
    said = json.loads(well.stdout)
    assert (said["audits"], said["overdue"], said["next_due"]) == (1, False, "2999-04-01")
    lines = metrics.read_text(encoding="utf-8").splitlines()
    assert 'evalsuite_audit_met{deployment="default"} 1' in lines
    assert 'evalsuite_audit_status{deployment="default",indicator="Performance: sensitivity"} 0' in lines
    deployment.audit("a2", deployment.month("feb", 200, separation=0.8), utc="2999-04-01T10:00:00.000Z")
    assert runner.invoke(app, command).exit_code == 1
    assert runner.invoke(app, ["audit", "--check", "--history", str(history), "--window", "x"]).exit_code == 2
    assert runner.invoke(app, ["audit", str(deployment.protocol)]).exit_code == 2


def test_an_audit_that_is_overdue_is_told(deployment: Deployment) -> None:
    deployment.audit("a1", deployment.month("jan", 200), utc="2020-03-01T10:00:00.000Z")
    found = histories.standing(
        histories.open_history(str(deployment.path / "history.sqlite"), "default"), now="2020-04-01T23:59:00.000Z"
    )
    assert not found.overdue
    assert found.in_order
    made = CliRunner().invoke(app, ["audit", "--check", "--history", str(deployment.path / "history.sqlite")])
    assert made.exit_code == 1
    assert "OVERDUE" in made.stdout
