"""One real classifier in every package format, on all images of its test set: do scores and verdict agree?

Run by `make formats`. Real servers take part where `make kserve` has installed them; what could not be made is listed
with the reason. Prints a table, and ends with 1 if a format is off by more than the tolerance or comes to another
verdict.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import evalsuite as es
from evalsuite.inference.engine import predict
from evalsuite.inference.settings import InferenceSettings
from evalsuite.sandbox.open import open_model
from evalsuite.spine.prepare import lock
from evalsuite.spine.running_context import Who
from evalsuite.testset import open_testset
from tests.derm_formats import CLASSES, Packaged, container, every_format
from tests.end_to_end.conftest import protocol_text

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "real"
#: Of a probability. Torch runs the same kernels from every package it opens, so nothing but the last bit may differ;
#: other runtimes and compilers add the same float32 numbers in another order: 1.6e-5 was seen, and no decision moved.
SAME_RUNTIME, ANOTHER_RUNTIME = 1e-6, 5e-5
_ANOTHER = ("ONNX", "command line", "AOTInductor", "Triton", "MLServer", "OCI container")
FIRST = "TorchScript"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one format gave."""

    name: str
    format: str
    sandbox: str
    off: float
    tolerance: float
    flips: int
    auroc: str
    verdict: str
    rate: float
    opened_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, help="only so many images")
    parser.add_argument("--out", type=Path, help="also write the table here")
    asked = parser.parse_args()
    if not SHARED.is_dir():
        print("../shared/real is not beside this checkout: nothing to compare", file=sys.stderr)
        return 2
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="evalsuite-formats-") as scratch:
        rows, absent, n = compare(Path(scratch), asked.limit)
    text = table(rows, absent, n)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n")
    return int(any(r.off > r.tolerance or r.flips or r.verdict != rows[0].verdict for r in rows))


def compare(work: Path, limit: int | None) -> tuple[list[Row], dict[str, str], int]:
    """Run every format; the first row is what the others are compared with."""
    source, models = SHARED / "derm_ham10000", SHARED / "models" / "derm_mnv2_7class"
    frame = pd.read_csv(source / "labels.csv", dtype=str, keep_default_na=False).head(limit or 10**9)
    frame["image"] = [str(source / name) for name in frame["image"]]
    frame.to_csv(work / "cases.csv", index=False)
    task = {"kind": "binary", "reference": "malignant", "positive": 1, "score": "p_mel + p_bcc + p_akiec"}
    text = protocol_text(task=task, unit={"case": "image_id", "cluster": "lesion_id"}, strata=[], disclose=[])
    (work / "protocol.yaml").write_text(text)
    who = Who(actor="formats", now=lambda: "2026-01-01T00:00:00.000Z")
    lock(work / "cases.csv", out=work / "set", protocol=work / "protocol.yaml", who=who)
    protocol, testset = es.load_protocol(work / "protocol.yaml"), open_testset(work / "set")
    rows: list[Row] = []
    first: list[np.ndarray] = []

    def judge(name: str, package: Packaged) -> None:
        print(f"{name} …", file=sys.stderr, flush=True)
        started = time.perf_counter()
        model = open_model(package.path, contract=package.contract)
        opened_s = time.perf_counter() - started
        settings = InferenceSettings(device="cpu", batch_size=16, threads=1, decoders=1, repeat=False)
        try:
            made = predict(model, testset, settings=settings, work=work / f"run-{len(rows)}")
        finally:
            model.close()
        score = made.table[[f"p_{c}" for c in CLASSES]].to_numpy()
        first.append(score)
        if name == FIRST:
            made.table.drop(columns=["reason", "condition"]).to_csv(work / "recorded.csv", index=False)
        evidence = es.evaluate(protocol, testset, made)
        auroc = next(f.estimate for f in evidence.findings if f.metric == "auroc" and f.analysis != "missing_data")
        inference = made.record["inference"]
        box = inference["sandbox"]
        rows.append(
            Row(
                name=name + (f" ({package.said})" if package.said else ""),
                format=model.format,
                sandbox=str(box["name"]) if not isinstance(box, str) else box.split(":")[0].split(",")[0],
                off=float(np.abs(score - first[0]).max()),
                tolerance=tolerance_of(name),
                flips=int((_called(score) != _called(first[0])).sum()),
                auroc=f"{auroc.value:.6f} ({auroc.low:.4f}–{auroc.high:.4f})",
                verdict=es.judge(protocol, evidence).overall,
                rate=len(score) / inference["wall_s"],
                opened_s=opened_s,
            )
        )

    with every_format(models, work, slow=True) as found:
        judge(FIRST, found.made.pop(FIRST))
        for name, package in found.made.items():
            judge(name, package)
        judge("recorded predictions", Packaged(path=work / "recorded.csv"))
        path, runtimes = container(models / "model.onnx", work)
        with _on_path(runtimes):
            judge("OCI container", Packaged(path=path, said="a stand-in for podman"))
        return rows, found.absent, len(frame)


def tolerance_of(name: str) -> float:
    """Largest difference of a probability admitted for a format."""
    return ANOTHER_RUNTIME if any(word in name for word in _ANOTHER) else SAME_RUNTIME


def _called(score: np.ndarray) -> np.ndarray:
    malignant = [CLASSES.index(c) for c in ("mel", "bcc", "akiec")]
    return score[:, malignant].sum(axis=1) >= 0.5


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def table(rows: list[Row], absent: dict[str, str], n: int) -> str:
    """Markdown."""
    load, machine = os.getloadavg()[0], f"{platform.machine()}, {os.cpu_count()} cores"
    columns = (
        "package", "format", "apart by", "largest Δp", "admitted", "calls turned at 0.5", "AUROC (95 %)", "verdict",
        "images/s", "opened in",
    )  # fmt: skip
    lines = [
        "# One classifier in every package format",
        "",
        f"`make formats`: the dermoscopy classifier on its {n} images (../shared/real/derm_ham10000), opened as the",
        "command line opens it (in the sandbox where code of the package runs here), batches of 16, one thread.",
        f"{machine}, load {load:.0f} while it ran: rates and times are those of a busy machine.",
        f"Admitted from the first row, over all {n} × {len(CLASSES)} probabilities: {SAME_RUNTIME:g} where torch runs "
        f"its own kernels, {ANOTHER_RUNTIME:g} where another runtime or compiler adds the same float32 numbers in "
        "another order.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    for r in rows:
        off = "–" if r is rows[0] else f"{r.off:.1e}"
        lines.append(
            f"| {r.name} | {r.format} | {r.sandbox} | {off} | {r.tolerance:g} | {r.flips} | {r.auroc} | {r.verdict} "
            f"| {r.rate:.0f} | {r.opened_s:.1f} s |"
        )
    lines += ["", *(f"Not made here: {name}: {why}." for name, why in absent.items())]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    sys.exit(main())
