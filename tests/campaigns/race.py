"""Two operators start a run on the last use of a test set at the same moment: exactly one of them gets it.

Run by `make race`, on a ledger in the set's folder, on SQLite and on PostgreSQL (where it is installed); prints a
table, and fails where not exactly one run was let in, or a ledger does not verify afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from evalsuite.spine.verification import verify
from evalsuite.testset.open import ledger_of, read_lock
from tests.campaigns.study import PROTOCOL, here
from tests.postgres import cluster

Kind = Literal["file", "sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("file", "sqlite", "postgresql")
OPERATORS = 2
_CASES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One race: the exit codes of both commands, and what was wrong afterwards."""

    codes: tuple[int, ...]
    faults: tuple[str, ...]


def make_set(folder: Path, number: int, url: str | None) -> Path:
    """A locked test set of its own (sets with the same cases would share a ledger) with one use left per case."""
    place = folder / f"{number:03d}"
    place.mkdir(parents=True)
    ids = [f"r{number}c{i}" for i in range(_CASES)]
    rows = [f"{name},{name},{i % 2},{'fm'[i % 2]}" for i, name in enumerate(ids)]
    (place / "cases.csv").write_text("\n".join(["case_id,patient_id,truth,sex", *rows]) + "\n")
    scores = [f"{name},{0.2 + 0.6 * (i % 2)}" for i, name in enumerate(ids)]
    (place / "predictions.csv").write_text("\n".join(["case_id,p_disease", *scores]) + "\n")
    protocol = {**PROTOCOL, "reuse_policy": {"max_uses_per_case": 1, "on_excess": "refuse"}}
    (place / "protocol.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    at = ("--store", url) if url is not None else ()
    names = ("--protocol", str(place / "protocol.yaml"), "--out", str(place / "set"))
    here(("lock", str(place / "cases.csv"), *names, *at))
    return place


def operate(folder: Path, rounds: int, number: int, barrier: Any, results: Any) -> None:
    """One operator: waits for the other, then runs the model; exit code and words of the command go to `results`."""
    from typer.testing import CliRunner

    from evalsuite.cli.app import app

    for race in range(rounds):
        place = folder / f"{race:03d}"
        bound = ("--testset", str(place / "set"), "--model", str(place / "predictions.csv"))
        who = ("--actor", f"operator {number}", "--out", str(place / f"run-{number}"))
        barrier.wait(300)
        done = CliRunner().invoke(app, ["predict", str(place / "protocol.yaml"), *bound, *who])
        results.put((race, done.exit_code, done.output))


def campaign(folder: Path, *, rounds: int, url: str | None = None) -> list[Round]:
    """`rounds` races on sets of their own."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(OPERATORS), context.Queue()
    places = [make_set(folder, race, url) for race in range(rounds)]
    operators = [
        context.Process(target=operate, args=(folder, rounds, number, barrier, results)) for number in range(OPERATORS)
    ]
    for operator in operators:
        operator.start()
    ended = [results.get(timeout=600) for _ in range(rounds * OPERATORS)]
    for operator in operators:
        operator.join(60)
    return [_round(place / "set", [(code, said) for race, code, said in ended if race == i], url)
            for i, place in enumerate(places)]  # fmt: skip


def _round(testset: Path, ended: list[tuple[int, str]], url: str | None) -> Round:
    codes = tuple(sorted(code for code, _ in ended))
    faults = [] if codes == (0, 2) else [f"exit codes {codes}: {[said for _, said in ended]}"]
    faults += [f"refused for another reason: {said}" for code, said in ended if code == 2 and "is refused" not in said]
    started = Counter(e.action for e in ledger_of(testset, read_lock(testset)[0], url).entries())["run_started"]
    if started != 1:
        faults.append(f"{started} runs are in the ledger")
    faults += [f"{c.name}: {c.detail}" for c in verify(testset, store=url).checks if c.status == "broken"]
    return Round(codes=codes, faults=tuple(faults))


@contextlib.contextmanager
def place_of(kind: Kind, folder: Path) -> Iterator[str | None]:
    """Where the ledgers are kept: None for a file in each set's folder, else a database's URL."""
    if kind == "postgresql":
        with cluster() as url:
            yield url
    else:
        yield f"sqlite:///{folder}/team.sqlite" if kind == "sqlite" else None


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table; 0 where exactly one operator won every race."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args(None if arguments is None else list(arguments))
    os.environ.pop("EVALSUITE_STORE", None)
    print("| ledger | races | exactly one won |\n|---|---:|---:|", flush=True)
    wrong = 0
    for kind in KINDS:
        try:
            with tempfile.TemporaryDirectory() as scratch, place_of(kind, Path(scratch)) as url:
                found = campaign(Path(scratch) / "races", rounds=options.rounds, url=url)
        except pytest.skip.Exception as absent:
            print(f"| {kind} | not tried: {absent} | |", flush=True)
            continue
        bad = [r for r in found if r.faults]
        wrong += len(bad)
        print(f"| {kind} | {len(found)} | {len(found) - len(bad)} |", flush=True)
        for race in bad[:10]:
            print("; ".join(race.faults), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
