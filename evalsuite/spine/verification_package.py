"""A submission package years later: every file as packed, and everything that can be checked of every run in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import evalsuite
from evalsuite.errors import EvalsuiteError, IntegrityError
from evalsuite.record import ledger
from evalsuite.record.bag import PAYLOAD, SIGNED_BY, TAG_MANIFEST, check_bag, read_info, unpack_zip
from evalsuite.record.canonical import read_json
from evalsuite.record.envelope import envelope_path
from evalsuite.record.signed_head import check_ledger
from evalsuite.record.trust import Check, CheckStatus, check_file_signature
from evalsuite.record.usage import ENDED
from evalsuite.spine import states
from evalsuite.spine.folder import RunFolder
from evalsuite.spine.package_contents import INDEX, derived_files
from evalsuite.spine.package_index import LEDGERS, RUNS, ledger_place, withheld_of
from evalsuite.spine.verification_parts import Reader, checked
from evalsuite.spine.verification_run import not_in_ledger, verify_run


def verify_package(path: Path, reader: Reader) -> list[Check]:
    """Everything that can be checked of a package, a folder or a zip file, from its own files alone."""
    if path.is_dir():
        return list(_checks(path, reader))
    with tempfile.TemporaryDirectory(prefix="evalsuite-") as scratch:
        try:
            bag = unpack_zip(path, Path(scratch))
        except IntegrityError as error:
            return [Check(name="zip file", status="broken", detail=error.message)]
        whole = Check(name="zip file", status="holds", detail="byte for byte as it was written")
        return [whole, *_checks(bag, reader)]


def _checks(bag: Path, reader: Reader) -> Iterator[Check]:
    found = check_bag(bag)
    yield from found
    yield _signature(bag, reader)
    data = bag / PAYLOAD
    runs = sorted(p for p in (data / RUNS).glob("*") if p.is_dir())
    if not runs:
        yield Check(name="runs", status="broken", detail="there is none")
        return
    for place in sorted((data / LEDGERS).glob("*/ledger.jsonl")):
        yield from (replace(c, name=f"{c.name} {place.parent.name}") for c in check_ledger(place, trust=reader.trust))
    for place in runs:
        folder = RunFolder(place)
        try:
            withheld = withheld_of(folder)
        except (EvalsuiteError, KeyError, TypeError, AttributeError):
            withheld = frozenset()  # the seal is checked by itself
        for check in verify_run(folder, reader, with_set=False, withheld=withheld):
            yield replace(check, name=f"run {place.name}: {check.name}")
        yield checked(f"run {place.name}: state", partial(_state, data, folder))
    yield _made_again(data, intact=all(c.status == "holds" for c in found))


def _signature(bag: Path, reader: Reader) -> Check:
    """The signature of the tag manifest, by the key that bag-info.txt names under that same manifest."""
    keyid = read_info(bag).get(SIGNED_BY)
    file = bag / TAG_MANIFEST
    declared = None if keyid is None else {"keyid": keyid, "envelope": envelope_path(file).name}
    return check_file_signature("package signature", file, declared, trust=reader.trust, required=True)


def _state(data: Path, folder: RunFolder) -> tuple[CheckStatus, str]:
    """The run as the ledger in the package has it: finished, not ended, with all its signatures."""
    record = read_json(folder.record)
    entries = ledger.read(data / ledger_place(str(record["testset"]["root"])))
    state = states.state_of(entries, folder.path.name).state
    if str(record["run"]["id"]) != folder.path.name:
        return "broken", "the folder has the name of another run"
    if state in ENDED or state not in ("reported", "signed"):
        return "broken", f"the ledger in the package says it is {state}"
    missing = not_in_ledger(folder, entries)
    return ("holds", f"{state}, as the ledger in the package says") if missing is None else ("broken", missing)


def _made_again(data: Path, *, intact: bool) -> Check:
    """Index, line listings and bills of materials are made from the other files: made again, they are the same."""

    def work() -> tuple[CheckStatus, str]:
        written = read_json(data / INDEX)["software"]
        different = [n for n, made in derived_files(data, written) if (data / n).read_bytes() != made]
        if different and written != evalsuite.__version__:
            this = f"this is {evalsuite.__version__}, which makes others of the same runs"
            return "not checked", f"evalsuite {written} is said to have made {', '.join(different)}; {this}"
        if different:
            return "broken", f"not what the files of the runs say: {', '.join(different)}"
        return "holds", "index, line listings and bills of materials made again from the runs: the same bytes"

    if not intact:
        return Check(name="index", status="not checked", detail="the files are not those that were packed")
    return checked("index", work)
