"""Change a finished study in every way a file can be changed, and count how many changes `verify` notices.

Run by `make tamper`; prints a table of what was tried and what was detected, and fails where they differ.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from evalsuite.record import ledger
from evalsuite.record.canonical import canonical_json
from evalsuite.record.digest import sha256_bytes
from evalsuite.record.envelope import declaration, envelope_path, sign
from evalsuite.record.identity import load_identity, load_trusted_certificates
from evalsuite.record.seal import SIGNED_REPORT, check_seal, write_seal
from evalsuite.record.signed_head import check_ledger, sign_head
from evalsuite.record.signing import Signer, load_public_key, load_signer, write_key_pair
from evalsuite.record.trust import NO_TRUST, Trust
from evalsuite.report.pdf_signing import Signing, sign_report
from evalsuite.spine.verification import verify
from evalsuite.spine.verification_parts import Reader
from evalsuite.spine.verification_signed import check_signed_run
from tests.campaigns.study import SIGNERS, SmallStudy, carry_out, command, make_study
from tests.people import make_ca, make_person

Change = tuple[Literal["flip", "cut"], str, int]
_CHUNK = 250
_CUT: tuple[Literal["cut"]] = ("cut",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How many changes of one kind were tried, and which of them nobody noticed."""

    what: str
    tried: int
    missed: tuple[str, ...]


def every_bit(folder: Path, name: str, start: int = 0) -> list[Change]:
    """One flip for every bit of a file, from byte `start` on."""
    return [("flip", name, bit) for bit in range(8 * start, 8 * (folder / name).stat().st_size)]


def spread_flips(folder: Path, names: Sequence[str], count: int) -> list[Change]:
    """`count` single-bit flips spread evenly over the files, every file given at least one in each of its parts."""
    sizes = np.array([(folder / n).stat().st_size for n in names])
    ends = np.cumsum(sizes * 8)
    places = np.unique(np.linspace(0, ends[-1] - 1, count).astype(np.int64))
    which = np.searchsorted(ends, places, side="right")
    return [("flip", names[f], int(place - (ends[f] - 8 * sizes[f]))) for f, place in zip(which, places, strict=True)]


def record_cuts(folder: Path, name: str) -> list[Change]:
    """Truncations: after every line of a text, at 256 places of anything else, and to nothing."""
    data = (folder / name).read_bytes()
    if name.endswith((".json", ".jsonl", ".yaml", ".html")):
        ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    else:
        ends = [int(x) for x in np.linspace(0, len(data) - 1, 256)]
    return [("cut", name, end) for end in sorted({0, *ends}) if end < len(data)]


def noticed(run: Path) -> bool:
    """Whether `verify` calls the run broken; the seal and the ledger, the cheap parts of it, are asked first."""
    if any(check.status == "broken" for check in (*check_seal(run), *check_ledger(run / "ledger.jsonl"))):
        return True
    return not verify(run).intact


def _changed(data: bytes, change: Change) -> bytes:
    kind, _, place = change
    if kind == "cut":
        return data[:place]
    return data[: place // 8] + bytes([data[place // 8] ^ (1 << (place % 8))]) + data[place // 8 + 1 :]


def _try(folder: Path, changes: Sequence[Change], check: Callable[[Path], bool]) -> list[str]:
    """Names of the changes that were not noticed in a private copy of the folder."""
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(folder, Path(scratch) / folder.name))
        for change in changes:
            path = copy / change[1]
            before = path.read_bytes()
            path.write_bytes(_changed(before, change))
            if not check(copy):
                missed.append(f"{change[0]} of {change[1]} at {change[2]}")
            path.write_bytes(before)
    return missed


def _signed_noticed(run: Path) -> bool:
    """The same for the signed report alone, which the seal leaves out: its own checks, then all of `verify`."""
    entries = [e for e in ledger.read(run / "ledger.jsonl") if e.action == "signed"]
    return any(c.status == "broken" for c in check_signed_run(run, entries, Reader())) or not verify(run).intact


def _broken_set(folder: Path) -> bool:
    """The same for a test set; its ledger, which has most bits, is the cheap part."""
    return any(check.status == "broken" for check in check_ledger(folder / "ledger.jsonl")) or not verify(folder).intact


def campaign(
    folder: Path,
    groups: dict[str, list[Change]],
    *,
    jobs: int,
    test_set: bool = False,
    check: Callable[[Path], bool] | None = None,
) -> Iterator[Outcome]:
    """Try every change of every group, in chunks over `jobs` processes."""
    check = check or (_broken_set if test_set else noticed)
    with ProcessPoolExecutor(jobs) as pool:
        for what, changes in groups.items():
            chunks = [changes[i : i + _CHUNK] for i in range(0, len(changes), _CHUNK)]
            found = pool.map(_try, [folder] * len(chunks), chunks, [check] * len(chunks))
            yield Outcome(what=what, tried=len(changes), missed=tuple(m for missed in found for m in missed))


def run_groups(run: Path, *, spread: int) -> dict[str, list[Change]]:
    """What is tried on a run folder."""
    names = sorted(p.name for p in run.iterdir() if p.is_file())
    whole = [n for n in names if n.startswith(("testset.lock", "SEAL", "ledger.dsse", "freeze.dsse"))]
    last_line = (run / "ledger.jsonl").read_bytes().rstrip(b"\n").rfind(b"\n") + 1
    head = {"every bit of the ledger's last entry": every_bit(run, "ledger.jsonl", last_line)}
    rest = [n for n in names if n not in whole]
    signed = [n for n in names if n == SIGNED_REPORT]
    ends = [(kind, n, end) for n in signed for end in signature_ends(run)[:-1] for kind in _CUT]
    return {
        **{f"every bit of {n}": every_bit(run, n) for n in whole},
        **head,
        **{f"bits spread over {n}": spread_flips(run, [n], spread // 10) for n in signed},
        **{f"{n} cut after a signature": ends for n in signed},
        f"bits spread over {len(rest)} other files": spread_flips(run, rest, spread),
        "cut at a record boundary": [cut for n in names for cut in record_cuts(run, n)],
    }


def signed_groups(run: Path, *, flips: int, seed: int = 10) -> dict[str, list[Change]]:
    """What is tried on the signed report alone: bits drawn at random, and cuts at and beside every signature's ends."""
    data = (run / SIGNED_REPORT).read_bytes()
    bits = np.random.default_rng(seed).choice(8 * len(data), size=flips, replace=False)
    starts = [m.end() for m in re.finditer(rb"/Contents <", data)]
    ends = [data.index(b">", start) for start in starts]
    places = {p + d for p in (*starts, *ends, *signature_ends(run)) for d in (-1, 0, 1)}
    return {
        f"random bits of {SIGNED_REPORT}": [("flip", SIGNED_REPORT, int(bit)) for bit in bits],
        f"{SIGNED_REPORT} cut at a signature's ends": [
            ("cut", SIGNED_REPORT, p) for p in sorted(places) if p < len(data)
        ],
    }


def set_groups(testset: Path) -> dict[str, list[Change]]:
    """What is tried on a test set: every bit of its lock and rows, and every cut."""
    names = sorted(p.name for p in testset.iterdir() if p.suffix in (".json", ".parquet", ".jsonl"))
    sealed = [n for n in names if n.startswith(("testset.lock", "cases", "reference", "ledger"))]
    # A ledger cut after a whole line is an older ledger, which only what recorded its later head can tell: the signed
    # head, or a run (see `deeds`).
    headed = envelope_path(testset / "ledger.jsonl").exists()
    cuts = [cut for n in sealed if headed or n != "ledger.jsonl" for cut in record_cuts(testset, n)]
    flips = {f"test set: every bit of {n}": every_bit(testset, n) for n in sealed}
    return {**flips, "test set: cut at a record boundary": cuts}


def deeds(study: SmallStudy) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """What a person would do to a set and its run: (name, what is done to a copy of the study's folder)."""
    image = "images/05.png"

    def swap(root: Path) -> None:
        a, b = root / image, root / "images/06.png"
        first, second = a.read_bytes(), b.read_bytes()
        a.write_bytes(second)
        b.write_bytes(first)

    def rename(root: Path) -> None:
        (root / image).rename(root / "images/99.png")

    def reverse(root: Path) -> None:
        (root / image).write_bytes(bytes(reversed((root / image).read_bytes())))

    def add(path: Path) -> None:
        path.write_bytes(b"{}")

    def label(root: Path) -> None:
        table = pd.read_parquet(root / "testset/reference.parquet")
        table.loc[0, "truth"] = "1" if table.loc[0, "truth"] == "0" else "0"
        table.to_parquet(root / "testset/reference.parquet")

    def rollback(root: Path) -> None:
        lines = (root / "testset/ledger.jsonl").read_bytes().splitlines(keepends=True)
        (root / "testset/ledger.jsonl").write_bytes(b"".join(lines[:2]))

    def score(root: Path) -> None:
        table = pd.read_parquet(root / "run/predictions.parquet")
        table["p_disease"] = 1 - table["p_disease"]
        table.to_parquet(root / "run/predictions.parquet")

    def verdict(root: Path) -> None:
        written = json.loads((root / "run/verdict.json").read_text())
        written["overall"] = "met" if written["overall"] != "met" else "not_met"
        (root / "run/verdict.json").write_text(json.dumps(written))

    if (study.run / SIGNED_REPORT).exists():
        yield from _against_signatures()
    yield "two images swapped", swap
    yield "an image removed", lambda root: (root / image).unlink()
    yield "an image renamed", rename
    yield "an image exchanged for another of its size", reverse
    yield "a file added to the test set", lambda root: add(root / "testset/extra.parquet")
    yield "a file added to the run", lambda root: add(root / "run/extra.json")
    yield "a label replaced", label
    yield "the ledger rolled back", rollback
    yield "scores replaced", score
    yield "the verdict rewritten", verdict


def _against_signatures() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """What a person would do to a study that is signed throughout."""
    yield "the signed report exchanged for the sealed one", _unsign
    yield "the signed report taken back to its first signature", _back_to_the_author
    yield "the signed report and its ledger taken back", _back_with_its_ledger
    yield "the report signed by somebody unknown", _signed_by_eve
    yield "the run sealed anew by an unknown key", _reseal
    yield "the lock signed anew by an unknown key", _relock
    yield "the ledger's head signed anew by an unknown key", _rehead
    for name in ("SEAL", "testset.lock", "ledger", "freeze"):

        def remove(root: Path, name: str = name) -> None:
            (root / f"run/{name}.dsse.json").unlink()

        yield f"{name}.dsse.json removed", remove


def _unsign(root: Path) -> None:
    (root / "run" / SIGNED_REPORT).write_bytes((root / "run/report.pdf").read_bytes())


def _back_to_the_author(root: Path) -> None:
    path = root / "run" / SIGNED_REPORT
    path.write_bytes(path.read_bytes()[: signature_ends(root / "run")[0]])


def _back_with_its_ledger(root: Path) -> None:
    _back_to_the_author(root)
    path = root / "run/ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    (root / "run/ledger.dsse.json").write_bytes(sign_head(ledger.read(path)[-1], _eve(root)))


def _signed_by_eve(root: Path) -> None:
    """Somebody else signs the sealed report in the author's name."""
    identity = load_identity(make_person(root / "eve.p12", SIGNERS["author"], make_ca(root / "eve")))
    signing = Signing(identity=identity, role="author", utc="2026-01-01T00:00:00Z", meaning="mine")
    (root / "run" / SIGNED_REPORT).write_bytes(sign_report((root / "run/report.pdf").read_bytes(), signing))


def _reseal(root: Path) -> None:
    """The verdict is changed, and the whole run sealed anew."""
    (root / "run/verdict.json").write_bytes((root / "run/verdict.json").read_bytes() + b" ")
    write_seal(root / "run", signer=_eve(root), utc="2026-01-01T00:00:00Z")


def _relock(root: Path) -> None:
    """The lock says that another key signed it, and that key did."""
    path, signer = root / "testset/testset.lock.json", _eve(root)
    path.write_bytes(canonical_json({**json.loads(path.read_bytes()), "signature": declaration(path, signer)}))
    envelope_path(path).write_bytes(sign(path.name, sha256_bytes(path.read_bytes()), {"utc": "2026"}, signer))


def _rehead(root: Path) -> None:
    path = root / "testset/ledger.jsonl"
    envelope_path(path).write_bytes(sign_head(ledger.read(path)[-1], _eve(root)))


def _eve(root: Path) -> Signer:
    """A key that nobody knows."""
    write_key_pair(root / "eve.key")
    return load_signer(root / "eve.key")


def signature_ends(run: Path) -> list[int]:
    """Lengths of the signed report after each of its signatures."""
    data = (run / SIGNED_REPORT).read_bytes()
    made = [e.objects["report"] for e in ledger.read(run / "ledger.jsonl") if e.action == "signed"]
    ends = [i + 6 for i in range(len(data)) if data.startswith(b"%%EOF\n", i)]
    return [end for end in ends if sha256_bytes(data[:end]) in made]


def trust_of(study: SmallStudy) -> Trust:
    """The keys and the authority that a reader of a signed study knows; none of an unsigned one."""
    if not study.ca.exists():
        return NO_TRUST
    known = tuple(load_public_key(key.with_name(f"{key.name}.pub")) for key in (study.custodian, study.operator))
    return Trust(keys=known, certificates=load_trusted_certificates(study.ca.read_bytes(), study.ca))


def try_deeds(study: SmallStudy) -> Iterator[Outcome]:
    """Each deed on the study where it lies, then everything put back; noticed if `verify` of run or set says so.

    In place, because a run finds its test set by the path that its record names.
    """
    trust = trust_of(study)
    assert all(verify(part, trust=trust).intact for part in (study.run, study.testset))
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(shutil.copytree(study.folder, Path(scratch) / "kept"))
        for what, deed in deeds(study):
            deed(study.folder)
            seen = any(not verify(part, trust=trust).intact for part in (study.run, study.testset))
            shutil.rmtree(study.folder)
            shutil.copytree(kept, study.folder)
            yield Outcome(what=what, tried=1, missed=() if seen else (what,))


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table; 0 where everything tried was detected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--spread", type=int, default=20_000, help="flips spread over the other files of the run")
    parser.add_argument("--signed", type=int, metavar="FLIPS", help="try the signed report alone, with so many flips")
    options = parser.parse_args(None if arguments is None else list(arguments))
    with tempfile.TemporaryDirectory() as scratch:
        study = carry_out(make_study(Path(scratch) / "study"), signed=True)
        command(("verify", str(study.run)), check=(0,))
        outcomes: list[Outcome] = []
        print("| what was done | tried | detected |\n|---|---:|---:|", flush=True)
        everything = (
            try_deeds(study),
            campaign(study.run, run_groups(study.run, spread=options.spread), jobs=options.jobs),
            campaign(study.testset, set_groups(study.testset), jobs=options.jobs, test_set=True),
        )
        if options.signed:
            alone = signed_groups(study.run, flips=options.signed)
            everything = (campaign(study.run, alone, jobs=options.jobs, check=_signed_noticed),)
        for source in everything:
            for outcome in source:
                outcomes.append(outcome)
                print(f"| {outcome.what} | {outcome.tried:,} | {outcome.tried - len(outcome.missed):,} |", flush=True)
    missed = [m for outcome in outcomes for m in outcome.missed]
    tried = sum(o.tried for o in outcomes)
    print(f"| **all** | **{tried:,}** | **{tried - len(missed):,}** |")
    for line in missed[:40]:
        print(f"not detected: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
