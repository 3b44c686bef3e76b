"""What is installed: protocols, metrics, model formats, analyses, file schemas, and the state of the environment."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalsuite.errors import InputError
from evalsuite.protocol.checklists import load_checklists
from evalsuite.protocol.jsonschema import SCHEMAS, json_schema
from evalsuite.protocol.load import load_protocol, shipped_protocols
from evalsuite.protocol.metrics import METRICS


def listing(what: str) -> tuple[str, list[dict[str, Any]]]:
    """Title and rows of `evalsuite list`. InputError for anything but what it knows."""
    if what == "protocols":
        rows = []
        for name in shipped_protocols():
            p = load_protocol(name)
            rows.append({"name": name, "version": p.version, "task": p.task.kind, "title": p.title})
        return "Shipped protocols", rows
    if what == "checklists":
        return "Reporting checklists", [
            {
                "name": c.name,
                "standing": c.standing,
                "items": len(c.items),
                "checked on": c.checked_on,
                "title": c.title,
            }
            for c in load_checklists().values()
        ]
    if what == "metrics":
        from evalsuite.analyses.tasks import computable

        return "Metrics", [
            {"name": m.name, "title": m.title, "analysis": m.analysis, "definition": m.definition}
            for m in METRICS.values()
            if m.name in computable()
        ]
    if what == "models":
        return "Model formats", _model_formats()
    if what == "analyses":
        return "Analyses", [
            {"name": "performance", "what": "binary index tests: discrimination, calls, predictive values"},
            {
                "name": "performance, several classes, labels or grades",
                "what": "each against the rest, averages, Hand-Till, top-k, kappa, ordinal agreement, confusion matrix",
            },
            {
                "name": "performance, measurements",
                "what": "bias, errors, limits of agreement, CCC, ICC, Deming, total deviation",
            },
            {
                "name": "calibration",
                "what": "binary index tests: Brier, intercept, slope, calibration error, reliability",
            },
            {
                "name": "missing_data",
                "what": "every endpoint under every assumption about missing outputs and references",
            },
            {
                "name": "comparison",
                "what": "paired differences from a baseline: superiority, non-inferiority, equivalence",
            },
            {
                "name": "multiplicity",
                "what": "bounds and p-values of several claims: Holm, Hochberg, fixed sequence, gatekeeping",
            },
            {"name": "utility", "what": "decision curves: net benefit beside treating all and none"},
            {
                "name": "tipping_point",
                "what": "how many cases without a reference must be wrong before a criterion fails",
            },
            {"name": "triage", "what": "waiting time a triage device saves in an assumed reading room (queueing)"},
            {"name": "generalisation", "what": "differences between sites, a new site, the figures without each"},
            {"name": "group_differences", "what": "differences and ratios between groups of different patients"},
            {"name": "bias", "what": "gaps between groups of patients: disparity, equivalence, and what explains them"},
            {"name": "weighting", "what": "figures weighted to the population that was sampled"},
            {"name": "truth_panel", "what": "the figures with other readers on the reference panel"},
            {"name": "change", "what": "agreement of change between two visits, and of the response it is called"},
            {"name": "linearity", "what": "deviation from linearity and limit of quantitation of a measurement"},
            {"name": "variance_components", "what": "spread of repeated acquisitions by operator, camera, reader"},
            {"name": "failures", "what": "wrong cases, doubtful references, and groups with more of them"},
            {"name": "slices", "what": "search for groups with more wrong cases, checked on patients held out"},
            {"name": "threshold_what_if", "what": "what a threshold for each group would do; never applied"},
            {"name": "verification_bias", "what": "sensitivity and specificity corrected for partial verification"},
        ]
    raise InputError(
        f"Nothing called '{what}' to list.", hint="Choose protocols, metrics, models, analyses or checklists."
    )


def _model_formats() -> list[dict[str, Any]]:
    """Every package format, the plugins' too; InputError where a plugin does not work."""
    from evalsuite.models.formats import formats, origin_of

    return [
        {
            "format": format.name,
            "what": format.what,
            "files": format.files,
            "executes": format.executes,
            "brought by": origin_of(format.name),
            "available": _available(format.needs, format.extra),
        }
        for format in formats().values()
    ]


def _available(needs: Sequence[str], extra: str) -> str:
    found = []
    for package in needs:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            return f"no: install evalsuite[{extra}]" if extra else f"no: install {package}"
    return ", ".join(found) or "yes"


def schema_kinds() -> list[str]:
    """File kinds with a published JSON Schema."""
    return sorted([*SCHEMAS, "contract"])


def schema_of(kind: str) -> dict[str, Any]:
    """JSON Schema of a file kind."""
    if kind == "contract":
        from evalsuite.models.contract import Contract

        return Contract.model_json_schema(by_alias=True)
    return dict(json_schema(kind))


def examine() -> list[dict[str, str]]:
    """What this environment has; `status` is "ok", "optional" or "missing"."""
    rows = [{"what": "Python", "status": "ok", "detail": sys.version.split()[0]}]
    for package, needed in (
        ("torch", True),
        ("pydicom", True),
        ("imagecodecs", True),
        ("weasyprint", True),
        ("onnxruntime", False),
    ):
        try:
            rows.append({"what": package, "status": "ok", "detail": importlib.metadata.version(package)})
        except importlib.metadata.PackageNotFoundError:
            rows.append({"what": package, "status": "missing" if needed else "optional", "detail": "not installed"})
    rows.append(_layout())
    rows.append(_accelerator())
    rows.append(_sandbox())
    free = shutil.disk_usage(Path.cwd()).free
    rows.append(
        {"what": "free disk here", "status": "ok" if free > 2**30 else "missing", "detail": f"{free / 2**30:.1f} GiB"}
    )
    return rows


def _layout() -> dict[str, str]:
    try:
        import weasyprint
    except OSError:
        return {
            "what": "text layout (Pango)",
            "status": "missing",
            "detail": "install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0",
        }
    return {"what": "text layout (Pango)", "status": "ok", "detail": f"found by weasyprint {weasyprint.__version__}"}


def _sandbox() -> dict[str, str]:
    from evalsuite.errors import SandboxUnavailable
    from evalsuite.sandbox.launcher import require_bubblewrap

    try:
        found = require_bubblewrap()
    except SandboxUnavailable as error:
        return {"what": "sandbox", "status": "optional", "detail": f"{error.message}; packages then need --unsandboxed"}
    detail = f"bubblewrap {found.version}" + ("" if found.own_proc else ", without a /proc of its own")
    return {"what": "sandbox", "status": "ok", "detail": detail}


def _accelerator() -> dict[str, str]:
    import torch

    if torch.cuda.is_available():
        return {"what": "accelerator", "status": "ok", "detail": torch.cuda.get_device_name(0)}
    return {"what": "accelerator", "status": "optional", "detail": "no CUDA device: models run on the processor"}
