"""Hostile text on the way people take: a case table, names, reasons and file names, to a finished, verified report."""

from __future__ import annotations

import csv
from collections.abc import Callable

from tests.inert import HOSTILE, LONG, faults_of

from .conftest import Outcome, Study, protocol_text

Cli = Callable[..., Outcome]


def test_a_hostile_case_table_gives_an_inert_report(study: Study, cli: Cli) -> None:
    """Cells of strata, identifiers of cases and patients, who ran it: refused by name, or printed."""
    rows = list(csv.DictReader(study.cases.read_text().splitlines()))
    texts = [t.replace("\x1b", "").replace("\x07", "") for t in HOSTILE]
    for i, row in enumerate(rows):
        row["sex"] = (*texts, LONG)[i % (len(texts) + 1)]
        row["site"] = texts[i % len(texts)]
        row["patient_id"] = f"{texts[i % len(texts)]}{i}"
    with study.cases.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    hostile = " ".join(texts)
    study.protocol.write_text(
        protocol_text(
            title=hostile[:290],
            intended_use={"indications": hostile, "population": LONG, "users": hostile},
            sources=[hostile, LONG],
            strata=["sex", {"name": "of <b>site</b>", "column": "site"}],
            disclose=["sex"],
            confidence={"bootstrap": {"replicates": 100}},
        ),
        encoding="utf-8",
    )
    predictions = study.predictions.rename(study.folder / "<img src=x onerror=y>.csv")
    who = ("--actor", texts[0] + "\u202e")
    done = cli("lock", study.cases, "--protocol", study.protocol, "--out", study.testset, *who)
    assert done.code == 0, done.err
    done = cli("run", study.protocol, "--testset", study.testset, "--model", predictions, "--out", study.run, *who)
    assert done.code == 1, done.err  # not frozen
    assert faults_of((study.run / "report.html").read_text(encoding="utf-8")) == []
    assert cli("verify", study.run).code == 0


def test_control_characters_in_a_table_are_refused_or_printed(study: Study, cli: Cli) -> None:
    for cell in ("\x00", "\x1b[31m", "\r\n"):
        rows = study.cases.read_text().splitlines()
        (study.folder / "odd.csv").write_text(
            "\n".join([rows[0], rows[1].replace("male", f'"m{cell}"'), *rows[2:]]) + "\n"
        )
        out = study.folder / f"set-{ord(cell[0])}"
        done = cli("lock", study.folder / "odd.csv", "--protocol", study.protocol, "--out", out)
        assert done.code in (0, 2), done.err
        assert not set("\x00\x1b") & set(done.out + done.err)
