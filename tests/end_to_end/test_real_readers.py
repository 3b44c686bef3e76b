"""FDA's VIPER study of two mammography modalities, as it was read: its figures by other means."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from evalsuite.stats import obuchowski_rockette as orh
from evalsuite.stats import reader_ustatistics as ustat
from evalsuite.stats.reader_figures import reader_figures, readings

from .conftest import Study, protocol_text

SUB_STUDIES = ("challengeHighP", "challengeMedP")


@pytest.fixture(scope="module", params=SUB_STUDIES)
def observed(request: pytest.FixtureRequest, shared_real) -> pd.DataFrame:
    table = pd.read_csv(shared_real / "viper_mrmc" / "viperObs.csv")
    return table[table.subStudyLabel == request.param]


def _by_pairs(table: pd.DataFrame) -> dict[str, float]:
    """Mean over readers of scikit-learn's area, per modality."""
    areas = table.groupby(["modalityID", "readerID"])[["cancerStatus365", "score"]].apply(
        lambda g: roc_auc_score(g.cancerStatus365, g.score)
    )
    return areas.groupby("modalityID").mean().to_dict()


def _variances_left_out(table: pd.DataFrame) -> tuple[float, float]:
    """Jackknife variances of the difference between modalities, over readers and over cases."""

    def area(g: pd.DataFrame) -> float:
        rank = rankdata(g.score)
        n = int(g.cancerStatus365.sum())
        return (rank[g.cancerStatus365 == 1].sum() - n * (n + 1) / 2) / (n * (len(g) - n))

    sign = {"FFDM": 1.0, "SFM": -1.0}
    of_reader: dict[str, float] = {}
    change: dict[int, float] = {}
    for (modality, reader), g in table.groupby(["modalityID", "readerID"])[["caseID", "cancerStatus365", "score"]]:
        whole = area(g)
        of_reader[reader] = of_reader.get(reader, 0.0) + sign[modality] * whole
        for case in g.caseID:
            change[case] = change.get(case, 0.0) + sign[modality] * (area(g[g.caseID != case]) - whole)
    readers, n = np.array(list(of_reader.values())), len(change)
    moved = np.array(list(change.values())) / readers.size
    return float(readers.var(ddof=1) / readers.size), float((n - 1) / n * ((moved - moved.mean()) ** 2).sum())


def test_figures_of_the_real_study(observed, tmp_path, cli):
    cases = observed.drop_duplicates("caseID").sort_values("caseID")
    (tmp_path / "cases.csv").write_text(
        "case_id,patient_id,cancer\n"
        + "".join(f"c{c},c{c},{int(t)}\n" for c, t in zip(cases.caseID, cases.cancerStatus365, strict=True))
    )
    rows = zip(observed.caseID, observed.readerID, observed.modalityID, observed.score, strict=True)
    (tmp_path / "predictions.csv").write_text(
        "case_id,rater,condition,score\n" + "".join(f"c{c},{r},{m},{s}\n" for c, r, m, s in rows)
    )
    (tmp_path / "protocol.yaml").write_text(
        protocol_text(
            id="viper", kind="reader_study",
            task={"kind": "binary", "reference": "cancer", "score": "score", "probability": False},
            operating_points=[{"name": "recall", "threshold": 100, "source": "a recall is scored above 100"}],
            readers={"test": "FFDM", "control": "SFM", "method": "u_statistics", "design": "as_read"},
            missing_reference={"primary": "exclude"},
            endpoints=[
                {"name": "gain", "metric": "reader_auroc_gain", "role": "primary",
                 "criterion": {"bound": "lower", "op": ">", "value": -0.05}},
                {"name": "digital", "metric": "reader_auroc"},
            ],
            strata=[], disclose=[],
        )
    )  # fmt: skip
    study = Study(tmp_path)
    assert cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset).code == 0
    assert (
        cli("run", study.protocol, "--testset", study.testset, "--model", study.predictions, "--out", study.run).code
        == 1
    )
    evidence = json.loads((study.run / "evidence.json").read_text())
    found = {
        f["endpoint"]: f["estimate"]
        for f in evidence["findings"]
        if f["analysis"] == "readers" and f["rater"] == "device" and not f["stratum"]
    }
    expected = _by_pairs(observed)
    assert found["digital"]["value"] == pytest.approx(expected["FFDM"], abs=1e-12)
    assert found["gain"]["value"] == pytest.approx(expected["FFDM"] - expected["SFM"], abs=1e-12)
    # The sum counts the reader-by-case part twice, and knows no component below 0: no less than 40 % of it is left.
    variance = ((found["gain"]["high"] - found["gain"]["low"]) / 2 / 1.99) ** 2
    assert 0.4 < variance / sum(_variances_left_out(observed)) < 1.25
    below_zero = (
        "Readings for gain: the variance component of readers is estimated below 0 and makes the interval narrower."
    )
    assert below_zero in evidence["notes"], "of both sub-studies; said, since the interval would otherwise be wider"
    assert below_zero[:-1] in (study.run / "report.html").read_text()


def test_two_methods_agree_on_the_real_study(observed):
    """Obuchowski and Rockette's analysis beside U-statistics: the same gain, nearly the same interval."""
    table = observed.set_index(["modalityID", "readerID", "caseID"]).score.unstack("caseID").sort_index()
    truth = observed.drop_duplicates("caseID").set_index("caseID").cancerStatus365.reindex(table.columns)
    rating = np.stack([table.loc[modality].to_numpy(dtype=float) for modality in ("FFDM", "SFM")])
    study = readings(truth.to_numpy().astype(bool), rating)
    theirs, _ = ustat.auroc_difference(study, 0, 1)
    ours = orh.difference(reader_figures(study, covariance="jackknife"), study, 0, 1).estimate
    assert ours.value == pytest.approx(theirs.value, abs=1e-12)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.005)
