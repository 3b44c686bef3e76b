"""Small studies made on the spot, and the command line in-process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

N = 120


@dataclass(frozen=True)
class Outcome:
    """Exit code, stdout and stderr of one command."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture(scope="module")
def no_report() -> Iterator[None]:
    """For modules whose reports have tests of their own: here they would take most of the time."""
    from evalsuite.record.canonical import read_json
    from evalsuite.spine import running
    from evalsuite.spine.folder import RunFolder
    from evalsuite.types import Verdict

    def verdict_alone(folder: RunFolder, on_stage: Callable[[str, int, int], None]) -> Verdict:
        return Verdict.from_json(read_json(folder.verdict))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "render_report", verdict_alone)
        yield


@pytest.fixture(autouse=True)
def _short_pdf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay out only cover and summary of each PDF, with all its attachments, unless the test is marked `full_pdf`.

    Of a test marked `traced`, every figure of the report must name its finding.
    Layout is most of the time of a small run; what the other pages say is read in report.html, and how they look is
    tested in tests/golden.
    """
    if "traced" in request.keywords:
        require_traced(monkeypatch)
    if "full_pdf" not in request.keywords:
        lay_out_little(monkeypatch)


def lay_out_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a study that several tests of a module share."""
    from evalsuite.report import write
    from evalsuite.report.pdf import make_pdf
    from evalsuite.report.sound import require_sound

    def short(html: str, **others: Any) -> bytes:
        start, end = html.find('<section class="contents"'), html.rfind("</body>")
        assert 0 < start < end
        require_sound(html)
        return make_pdf(re.sub(r' href="#[^"]*"', "", html[:start] + html[end:]), **others)

    monkeypatch.setattr(write, "make_pdf", short)


def require_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a figure of a report names no finding."""
    from evalsuite.report import build_dossier, write
    from evalsuite.report.anchors import untraced

    def asked(*material: Any) -> Any:
        dossier = build_dossier(*material)
        if lost := untraced(dossier.sections):
            pytest.fail(f"figures that name no finding: {lost[:5]}")
        return dossier

    monkeypatch.setattr(write, "build_dossier", asked)


@pytest.fixture(scope="session")
def cli() -> Callable[..., Outcome]:
    """Run a command; an exception that reaches the user as a traceback fails the test."""

    def call(*arguments: object) -> Outcome:
        from evalsuite.cli.app import app

        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return Outcome(code=result.exit_code, out=result.stdout, err=result.stderr)

    return call


def protocol_text(**changes: Any) -> str:
    """A small binary protocol on recorded predictions."""
    base: dict[str, Any] = {
        "schema": "evalsuite/protocol/1",
        "id": "small-study",
        "version": "1.0.0",
        "title": "A small study",
        "kind": "standalone",
        "intended_use": {"indications": "none: a test"},
        "task": {"kind": "binary", "reference": "truth", "score": "p_disease"},
        "unit": {"case": "case_id", "cluster": "patient_id"},
        "operating_points": [{"name": "primary", "threshold": 0.5, "source": "fixed beforehand"}],
        "endpoints": [
            {
                "name": "discrimination",
                "metric": "auroc",
                "role": "primary",
                "criterion": {"bound": "lower", "op": ">", "value": 0.7},
            },
            {
                "name": "sensitivity",
                "metric": "sensitivity",
                "at": "primary",
                "role": "primary",
                "criterion": {"bound": "lower", "op": ">", "value": 0.5},
            },
            {"name": "brier", "metric": "brier"},
        ],
        "confidence": {"bootstrap": {"replicates": 200}},
        "strata": ["sex", {"name": "age", "column": "age", "bins": [50]}],
        "disclose": ["sex", "age"],
        "seed": 11,
    }
    return yaml.safe_dump({**base, **changes}, sort_keys=False)


@dataclass(frozen=True)
class Study:
    """Paths of a study on disk."""

    folder: Path

    @property
    def protocol(self) -> Path:
        return self.folder / "protocol.yaml"

    @property
    def cases(self) -> Path:
        return self.folder / "cases.csv"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.csv"

    @property
    def testset(self) -> Path:
        return self.folder / "testset"

    @property
    def frozen(self) -> Path:
        return self.folder / "frozen"

    @property
    def run(self) -> Path:
        return self.folder / "run"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A case table with recorded predictions of a good classifier."""
    return make_study(tmp_path)


def make_study(tmp_path: Path) -> Study:
    """Write that case table, its predictions and its protocol into a folder."""
    rng = np.random.default_rng(5)
    truth = rng.random(N) < 0.45
    score = 1 / (1 + np.exp(-(2.2 * np.where(truth, 1, -1) + rng.normal(size=N) * 1.3)))
    rows = ["case_id,patient_id,truth,sex,age"]
    for i in range(N):
        rows.append(f"c{i:03d},p{i:03d},{int(truth[i])},{'female' if i % 2 else 'male'},{30 + (i * 7) % 50}")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "predictions.csv").write_text(
        "case_id,p_disease\n" + "".join(f"c{i:03d},{score[i]:.6f}\n" for i in range(N))
    )
    (tmp_path / "protocol.yaml").write_text(protocol_text())
    return Study(tmp_path)


@pytest.fixture
def locked(study: Study, cli: Callable[..., Outcome]) -> Study:
    """The study with its test set locked."""
    done = cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset)
    assert done.code == 0, done.err
    return study
