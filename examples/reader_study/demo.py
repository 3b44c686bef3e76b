"""A reader study from readings to report: lock, freeze, run, verify. `make demo-readers` runs this."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from journey import shown, travel  # noqa: E402
from make import PATIENTS, READERS, make  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-readers"))
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--readers", type=int, default=READERS)
    arguments = parser.parse_args()
    console = Console(highlight=False)
    console.rule("evalsuite demo: readers with and without a device")
    console.print(
        "Everything here is synthetic: the patients are phantoms', the readers are simulated.\n"
        "They read better with the device, on purpose. The report is supposed to show how sure that is."
    )
    table, readings = make(arguments.out / "data", patients=arguments.patients, readers=arguments.readers)
    return travel(
        console,
        table=table,
        protocol=shown(HERE) / "protocol.yaml",
        model=readings,
        out=arguments.out,
        name="reader-study-demo",
    )


if __name__ == "__main__":
    raise SystemExit(main())
