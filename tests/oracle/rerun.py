"""Rerun the R scripts beside this file in a copy of their folder, and say whether they print the tables kept here.

Run from the root of the checkout: `python -m tests.oracle.rerun [NAME …]`. Needs Rscript and the packages that each
table names in its first line. Exit code 1 where a table cannot be made or a figure differs by more than a millionth:
fits by iteration (lme4) end where their own tolerance lets them, which hangs on the machine's linear algebra.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MOST = 1e-6
"""Largest difference that is none."""
GENERATORS, TABLES = HERE / "generators", HERE / "data"


def tables() -> dict[str, int]:
    """Figures of every table printed by R with its versions, by name; data without figures are left out."""
    found = {}
    for path in sorted(TABLES.glob("*.csv")):
        lines = path.read_text(encoding="utf-8").splitlines()
        if lines[0].startswith("# R version"):
            found[path.stem] = sum(not line.startswith(("data-", "#")) for line in lines) - 1
    return found


def difference(kept: str, made: str) -> float:
    """Largest difference of two tables' numbers, relative where they exceed 1; infinite where anything else differs
    but the first line."""
    a, b = ([line.split(",") for line in text.splitlines() if not line.startswith("#")] for text in (kept, made))
    if [len(row) for row in a] != [len(row) for row in b]:
        return float("inf")
    largest = 0.0
    for left, right in zip((c for row in a for c in row), (c for row in b for c in row), strict=True):
        if left != right:
            try:
                largest = max(largest, abs(float(left) - float(right)) / max(1.0, abs(float(left))))
            except ValueError:
                return float("inf")
    return largest


def rerun(name: str, folder: Path) -> str | None:
    """Run one generator in the copy; why it failed, or None."""
    script = folder / "tests" / "oracle" / "generators" / f"{name}.R"
    done = subprocess.run(
        ["Rscript", str(script.relative_to(folder))], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    # A script that prints its table says where to put it.
    target = re.search(r"Rscript \S+ > (\S+)", script.read_text(encoding="utf-8"))
    if target:
        (folder / target.group(1)).write_text(done.stdout, encoding="utf-8")
    return None


def main(names: list[str]) -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(HERE, folder / "tests" / "oracle", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        for stem, figures in tables().items():
            if names and stem not in names:
                continue
            why = rerun(stem, folder)
            if why is None:
                copy = folder / "tests" / "oracle" / "data" / f"{stem}.csv"
                gap = difference((TABLES / copy.name).read_text(encoding="utf-8"), copy.read_text(encoding="utf-8"))
                why = None if gap <= MOST else f"differs by {gap:.3g}"
            wrong += why is not None
            sys.stdout.write(f"{stem:22} {figures:5} figures  {why or 'reproduced'}\n")
    sys.stdout.write(f"{sum(tables().values())} figures in {len(tables())} tables\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
