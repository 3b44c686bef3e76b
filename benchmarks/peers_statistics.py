"""Time and memory of what else people resample with: one peer, in this process, for benchmarks/statistics.py.

    python -P benchmarks/peers_statistics.py PEER STUDY.npz RUN REPLICATES

Runs 2 and then RUN replicates and prints JSON: seconds and CPU seconds that REPLICATES would take (what 2 take, and in
proportion for the others, so that a fixed cost is counted once), peak MB, and what was run; or `absent` with the
reason. The study is read from a file, so every peer has the same cases. Peers are the extra `bench`; pROC is R's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Study = dict[str, np.ndarray]
Work = Callable[[], object]
CUT = 1.0
"""Score from which a case is called positive."""


def sklearn_loop(d: Study, replicates: int) -> tuple[Work, str]:
    """Draw patients, index, call the metric: what most papers' code does."""
    from sklearn.metrics import confusion_matrix, roc_auc_score

    order = np.argsort(d["patient"], kind="stable")
    starts = np.searchsorted(d["patient"][order], np.unique(d["patient"]))
    groups = np.split(order, starts[1:])

    def work() -> object:
        rng = np.random.default_rng(1)
        out = []
        for _ in range(replicates):
            index = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
            y, call = d["reference"][index], d["call"][index]
            (tn, fp), (fn, tp) = confusion_matrix(y, call)
            out.append((roc_auc_score(y, d["score"][index]), tp / (tp + fn), tn / (tn + fp)))
        return out

    return work, f"scikit-learn {version('scikit-learn')}, loop over patients"


def confidenceinterval(d: Study, replicates: int) -> tuple[Work, str]:
    from confidenceinterval import roc_auc_score, tnr_score, tpr_score

    y, call = d["reference"].astype(int), d["call"].astype(int)
    how: dict[str, Any] = {"method": "bootstrap_percentile", "n_resamples": replicates}

    def work() -> object:
        return [roc_auc_score(y, d["score"], **how), tpr_score(y, call, **how), tnr_score(y, call, **how)]

    return work, f"confidenceinterval {version('confidenceinterval')}, of cases"


def torchmetrics(d: Study, replicates: int) -> tuple[Work, str]:
    import torch
    from torchmetrics.classification import BinaryAUROC, BinaryRecall, BinarySpecificity
    from torchmetrics.wrappers import BootStrapper

    torch.set_num_threads(1)
    target = torch.from_numpy(d["reference"].astype(np.int64))
    score, call = torch.from_numpy(d["score"]), torch.from_numpy(d["call"].astype(np.int64))

    def work() -> object:
        out = []
        for metric, prediction in ((BinaryAUROC(), score), (BinaryRecall(), call), (BinarySpecificity(), call)):
            wrapped = BootStrapper(metric, num_bootstraps=replicates, raw=True, sampling_strategy="multinomial")
            wrapped.update(prediction, target)
            out.append(wrapped.compute())
        return out

    return work, f"torchmetrics {version('torchmetrics')} BootStrapper, of cases"


def fairlearn(d: Study, replicates: int) -> tuple[Work, str]:
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import recall_score, roc_auc_score

    metrics: dict[str, Callable[..., float]] = {
        "sensitivity": lambda y, s: recall_score(y, s >= CUT, zero_division=0),
        "specificity": lambda y, s: recall_score(y, s >= CUT, pos_label=0, zero_division=0),
    }
    group = d["group"] if "group" in d else np.zeros(d["score"].size, dtype=int)
    if "group" not in d:
        metrics["auroc"] = roc_auc_score

    def work() -> object:
        return MetricFrame(
            metrics=metrics, y_true=d["reference"].astype(int), y_pred=d["score"], sensitive_features=group,
            n_boot=replicates, ci_quantiles=[0.025, 0.975], random_state=1,
        ).by_group_ci  # fmt: skip

    return work, f"fairlearn {version('fairlearn')} MetricFrame, of cases"


PEERS: dict[str, tuple[Callable[[Study, int], tuple[Work, str]], str]] = {
    "scikit-learn": (sklearn_loop, "sklearn"),
    "confidenceinterval": (confidenceinterval, "confidenceinterval"),
    "torchmetrics": (torchmetrics, "torchmetrics"),
    "fairlearn": (fairlearn, "fairlearn"),
}

R_SCRIPT = """
suppressMessages(library(pROC)); d <- read.csv("%s")
r <- roc(d$reference, d$score, levels = c(0, 1), direction = "<", quiet = TRUE, algorithm = 2)
t <- system.time(ci.auc(r, method = "delong"))
g <- split(seq_len(nrow(d)), d$patient); set.seed(1)
b <- system.time(for (i in seq_len(%d)) {
  k <- unlist(g[sample.int(length(g), replace = TRUE)], use.names = FALSE)
  q <- roc(d$reference[k], d$score[k], levels = c(0, 1), direction = "<", quiet = TRUE, algorithm = 2); auc(q)
  mean(d$call[k][d$reference[k] == 1]); mean(!d$call[k][d$reference[k] == 0])
})
cat(t[["elapsed"]], t[["user.self"]], b[["elapsed"]], b[["user.self"]], as.character(packageVersion("pROC")))
"""


def proc(d: Study, run: int, replicates: int, delong: bool) -> dict[str, Any]:
    """pROC in R: its DeLong interval, or a loop over patients around it."""
    if shutil.which("Rscript") is None:
        return {"absent": "R is not installed"}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "study.csv"
        columns = [d["reference"].astype(int), d["score"], d["call"].astype(int), d["patient"]]
        np.savetxt(table, np.stack(columns, axis=1), delimiter=",", header="reference,score,call,patient", comments="")
        command = ["Rscript", "-e", R_SCRIPT % (table, run)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"absent": "R has no pROC"}
    *seconds, number = done.stdout.split()
    # The time of the loop alone: no fixed cost to take apart.
    first, scale = (0, 1.0) if delong else (2, replicates / run)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    how = "ci.auc(method = 'delong')" if delong else "loop over patients"
    wall, cpu = scale * float(seconds[first]), scale * float(seconds[first + 1])
    return {"wall": wall, "cpu": cpu, "mb": peak, "what": f"pROC {number}, {how}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=[*PEERS, "pROC", "pROC-delong"])
    parser.add_argument("study", type=Path)
    parser.add_argument("run", type=int)
    parser.add_argument("replicates", type=int)
    options = parser.parse_args()
    with np.load(options.study) as file:
        d = {name: file[name] for name in file.files}
    if options.peer.startswith("pROC"):
        print(json.dumps(proc(d, options.run, options.replicates, options.peer == "pROC-delong")))
        return
    make, module = PEERS[options.peer]
    if importlib.util.find_spec(module) is None:
        print(json.dumps({"absent": f"{module} is not installed"}))
        return
    warnings.simplefilter("ignore")
    seconds = []
    for replicates in (2, options.run):
        work, what = make(d, replicates)
        began, cpu = time.perf_counter(), time.process_time()
        work()
        seconds.append((time.perf_counter() - began, time.process_time() - cpu))
    beyond = (options.replicates - 2) / (options.run - 2)
    wall, cpu = (two + beyond * max(0.0, more - two) for two, more in zip(*seconds, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "mb": peak, "what": what}))


if __name__ == "__main__":
    sys.exit(main())
