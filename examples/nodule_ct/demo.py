"""From CT series and marks to report on phantoms: draw, detect, lock, freeze, run, verify. `make demo-detection`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

PATIENTS = 90
SEED = 20261203


def main() -> int:
    """Exit 0 whatever the verdict: the demo shows the journey. Any failure on the way ends it with that exit code."""
    from journey import once, shown, travel
    from nodule_detect import detect
    from nodule_generate import generate
    from nodule_phantom import FIELD_MM, SMALL_MM

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-detection"))
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--small", action="store_true", help="small volumes, for a first try")
    arguments = parser.parse_args()
    out: Path = arguments.out
    console = Console(highlight=False)
    console.rule("evalsuite demo: marks of a nodule detector on chest-CT phantoms")
    console.print(
        "Everything here is synthetic: the scans come from a generator, the detector is thirty lines of filters.\n"
        "It was made for one of the two scanners. The report is supposed to find that."
    )
    data = out / "data"
    stem = f"{arguments.patients}-{SEED}{'-small' if arguments.small else ''}"
    field = SMALL_MM if arguments.small else FIELD_MM
    once(
        console,
        data / f".drawn-{stem}",
        "Drawing scans",
        lambda tell: generate(data, n_patients=arguments.patients, seed=SEED, field_mm=field, on_case=tell),
    )
    once(
        console,
        data / f".marked-{stem}",
        "Detecting nodules",
        lambda tell: detect(data / "cases.csv", data / "marks.csv", on_case=tell),
    )
    return travel(
        console,
        table=data / "cases.csv",
        protocol=shown(HERE) / "protocol.yaml",
        model=data / "marks.csv",
        out=out,
        name="nodule-ct-demo",
    )


if __name__ == "__main__":
    raise SystemExit(main())
