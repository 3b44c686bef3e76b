"""From volumes to report with a packaged segmenter: draw, lock, freeze, run, verify. `make demo-segmentation`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

PATIENTS = 50
SEED = 20261202


def main() -> int:
    """Exit 0 whatever the verdict: the demo shows the journey. Any failure on the way ends it with that exit code."""
    from abdomen_generate import generate
    from abdomen_phantom import FIELD_MM, SMALL_MM
    from journey import once, shown, travel

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-segmentation"))
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--small", action="store_true", help="small volumes, for a first try")
    arguments = parser.parse_args()
    out: Path = arguments.out
    console = Console(highlight=False)
    console.rule("evalsuite demo: organs outlined by a 3-D segmenter on abdominal CT phantoms")
    console.print(
        "Everything here is synthetic: the scans come from a generator, the segmenter was trained on its phantoms,\n"
        "all of them from one scanner. The report is supposed to find that."
    )
    data = out / "data"
    field = SMALL_MM if arguments.small else FIELD_MM
    once(
        console,
        data / f".drawn-{arguments.patients}-{SEED}{'-small' if arguments.small else ''}",
        "Drawing scans",
        lambda tell: generate(data, n_patients=arguments.patients, seed=SEED, field_mm=field, on_case=tell),
    )
    return travel(
        console,
        table=data / "cases.csv",
        protocol=shown(HERE) / "protocol.yaml",
        model=shown(HERE) / "bundle",
        out=out,
        name="abdomen-ct-demo",
    )


if __name__ == "__main__":
    raise SystemExit(main())
