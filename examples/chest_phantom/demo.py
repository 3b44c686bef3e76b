"""From images to report on phantoms: lock, freeze, run, verify. `make demo` runs this."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

PATIENTS = 250
SEED = 20261123


def main() -> int:
    """Exit 0 whatever the verdict: the demo shows the journey. Any failure on the way ends it with that exit code."""
    from generate import generate
    from journey import once, shown, travel

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--model", type=Path, default=shown(HERE) / "models" / "bundle")
    arguments = parser.parse_args()
    out: Path = arguments.out
    console = Console(highlight=False)
    console.rule("evalsuite demo: a nodule classifier on chest-radiograph phantoms")
    console.print(
        "Everything here is synthetic: the images come from a generator, the model was trained on its phantoms.\n"
        "The model has weaknesses on purpose. The report is supposed to find them."
    )
    data = out / "data"
    once(
        console,
        data / f".complete-{arguments.patients}-{SEED}",
        "Drawing phantoms",
        lambda tell: generate(data, n_patients=arguments.patients, seed=SEED, profile="test", on_case=tell),
    )
    code = travel(
        console,
        table=data / "cases.csv",
        protocol=shown(HERE) / "protocol.yaml",
        model=arguments.model,
        out=out,
        name="chest-phantom-demo",
    )
    if code == 0:
        console.print("Try next: your own study", style="bold")
        console.print("  .venv/bin/evalsuite init my-study --from generic_binary_standalone")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
