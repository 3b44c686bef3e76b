"""Time and memory of a report: pages, seconds for each stage, peak memory; prints a table, asserts nothing.

Run with ``python benchmarks/report.py [REPEATS]``. The study is the made-up one of the report's tests (12 endpoints,
three strata and a cross), the crowded one has 300 groups more. The long document is the usual one with its sections
again and again, up to 300 pages: reports are capped far below that. Every row is measured in a process of its own.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
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

LONG_PAGES = 300


def once(s: Study, *, pages: int = 0) -> dict[str, float]:
    """Seconds for the view model, the HTML and the PDF; pages and bytes of the PDF."""
    start = time.perf_counter()
    dossier = build_dossier(s.protocol, s.evidence, s.verdict, s.record)
    built = time.perf_counter()
    html = render_html(dossier, medium="print")
    if pages:
        html = _longer(html, pages)
    rendered = time.perf_counter()
    evidence = Attached(name="evidence.json", data=canonical_json(s.evidence.to_json()), description="Evidence")
    data = make_pdf(html, attachments=[evidence], identifier=b"benchmark", created=dossier.created)
    done = time.perf_counter()
    with pikepdf.open(BytesIO(data)) as pdf:
        made = len(pdf.pages)
    return {
        "view": built - start, "html": rendered - built, "pdf": done - rendered, "pages": made, "bytes": len(data),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def _longer(html: str, pages: int) -> str:
    """The document with its sections repeated until it has about this many pages; every copy has names of its own."""
    start, end = html.index("<main>") + len("<main>"), html.rindex("</main>")
    sections = html[start:end]
    copies = [sections]
    for k in range(1, -(-pages // _PAGES_OF_SECTIONS)):
        copies.append(re.sub(r'( id="| href="#)([^"]+)"', rf'\g<1>\g<2>-copy{k}"', sections))
    outside = set(re.findall(r' href="#([^"]+)"', sections)) - set(re.findall(r' id="([^"]+)"', sections))
    made = html[:start] + "".join(copies) + html[end:]
    for name in outside:
        made = re.sub(rf' href="#{re.escape(name)}-copy\d+"', f' href="#{name}"', made)
    return made


#: Pages that the usual study's sections take, without cover, summary and contents.
_PAGES_OF_SECTIONS = 24
STUDIES = {
    "small": lambda: (study(few=True), 0),
    "usual": lambda: (study(), 0),
    "crowded": lambda: (crowded(), 0),
    "long": lambda: (study(), LONG_PAGES),
}


def measured(name: str, repeats: int) -> dict[str, float]:
    """The median of several runs of one study; the first report of the process is left out."""
    once(study(few=True))
    s, pages = STUDIES[name]()
    runs = [once(s, pages=pages) for _ in range(1 if pages else repeats)]
    return {key: sorted(r[key] for r in runs)[len(runs) // 2] for key in runs[0]}


def main(repeats: int, only: str | None = None) -> None:
    if only is not None:
        print(json.dumps(measured(only, repeats)))
        return
    print(
        f"# Report\n\nweasyprint {weasyprint.__version__}, median of {repeats} (the long one once), "
        "first report of each process left out.\n"
    )
    print("| study | pages | kB | view model s | html s | pdf s | pages/s | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in STUDIES:
        command = [sys.executable, __file__, str(repeats), name]
        r = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        seconds = " | ".join(f"{r[k]:.2f}" for k in ("view", "html", "pdf"))
        rate, size = r["pages"] / r["pdf"], r["bytes"] / 1000
        print(f"| {name} | {r['pages']:.0f} | {size:.0f} | {seconds} | {rate:.1f} | {r['peak_mb']:.0f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2] if len(sys.argv) > 2 else None)
