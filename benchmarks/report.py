"""Time and memory of a report: pages, seconds for each stage, peak memory; prints a table, asserts nothing.

Run with ``python benchmarks/report.py [REPEATS]``. The study is the made-up one of the report's tests (12 endpoints,
three strata and a cross), the crowded one has 300 groups more.
"""

from __future__ import annotations

import resource
import sys
import time
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "golden"))

import pikepdf
import weasyprint
from factory import Study, study
from factory_odd import crowded

from evalsuite.record.canonical import canonical_json
from evalsuite.report import build_dossier
from evalsuite.report.pdf import Attached, make_pdf
from evalsuite.report.render import render_html


def once(s: Study) -> tuple[float, float, float, int, int]:
    """Seconds for the view model, the HTML and the PDF; pages and bytes of the PDF."""
    start = time.perf_counter()
    dossier = build_dossier(s.protocol, s.evidence, s.verdict, s.record)
    built = time.perf_counter()
    html = render_html(dossier, medium="print")
    rendered = time.perf_counter()
    evidence = Attached(name="evidence.json", data=canonical_json(s.evidence.to_json()), description="Evidence")
    data = make_pdf(html, attachments=[evidence], identifier=b"benchmark", created=dossier.created)
    done = time.perf_counter()
    with pikepdf.open(BytesIO(data)) as pdf:
        pages = len(pdf.pages)
    return built - start, rendered - built, done - rendered, pages, len(data)


def main(repeats: int) -> None:
    print(
        f"# Report\n\nweasyprint {weasyprint.__version__}, median of {repeats}, first report of the process left out.\n"
    )
    print("| study | pages | kB | view model s | html s | pdf s | pages/s |\n|---|---:|---:|---:|---:|---:|---:|")
    once(study(few=True))
    for name, s in (("small", study(few=True)), ("usual", study()), ("crowded", crowded())):
        runs = [once(s) for _ in range(repeats)]
        view, html, pdf = (sorted(r[i] for r in runs)[len(runs) // 2] for i in range(3))
        pages, size = runs[0][3], runs[0][4]
        print(f"| {name} | {pages} | {size / 1000:.0f} | {view:.2f} | {html:.2f} | {pdf:.2f} | {pages / pdf:.1f} |")
    print(f"\nPeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
