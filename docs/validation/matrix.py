"""Make the requirement-to-test matrix and the risk table from requirements.yaml and the tests.

python docs/validation/matrix.py            say what is missing; exit code 1 where something is
python docs/validation/matrix.py --write    write matrix.md
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests"
MATRIX = HERE / "matrix.md"
HEAD = """# Requirements, risks and tests

Made by `python docs/validation/matrix.py --write` from requirements.yaml and the tests: do not edit.
"""
COLUMNS = {
    "id": "id",
    "feature": "feature",
    "text": "requirement",
    "failure": "what could go wrong",
    "harm": "harm",
    "risk": "risk",
    "control": "control",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFile:
    """A file of tests: its path under tests/, what it says it tests, and its tests."""

    __test__ = False  # for pytest: no class of tests

    path: str
    about: str
    tests: tuple[str, ...]


def requirements() -> list[dict[str, Any]]:
    """The requirements as written."""
    found: list[dict[str, Any]] = yaml.safe_load((HERE / "requirements.yaml").read_text(encoding="utf-8"))[
        "requirements"
    ]
    return found


def test_file(path: Path) -> TestFile:
    """What a file of tests holds, read without running it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    about = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    names = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    return TestFile(path=path.relative_to(TESTS).as_posix(), about=about, tests=tuple(names))


def files_of(requirement: Mapping[str, Any]) -> list[TestFile]:
    """The files of tests that a requirement names, each once, in order."""
    paths = {p for pattern in requirement["tests"] for p in TESTS.glob(pattern)}
    return [test_file(p) for p in sorted(paths)]


def missing() -> Iterator[str]:
    """Patterns that match no file, and requirements without a test."""
    for requirement in requirements():
        for pattern in requirement["tests"]:
            if not any(TESTS.glob(pattern)):
                yield f"{requirement['id']}: tests/{pattern} matches no file"
        if not any(f.tests for f in files_of(requirement)):
            yield f"{requirement['id']}: no test"


def matrix() -> str:
    """The matrix as Markdown: risks by requirement, then the tests of each."""
    lines = [HEAD, f"| {' | '.join(COLUMNS.values())} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(r[key] for key in COLUMNS)} |" for r in requirements()]
    for r in requirements():
        lines += ["", f"## {r['id']} {r['feature']}", "", r["text"], "", "| file | what it tests |", "|---|---|"]
        lines += [f"| tests/{f.path} | {f.about.replace('|', '/')} |" for f in files_of(r)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the matrix or say what is missing; 1 where a requirement has no test."""
    parser = argparse.ArgumentParser(description="Requirement-to-test matrix.")
    parser.add_argument("--write", action="store_true", help="write matrix.md")
    if parser.parse_args().write:
        MATRIX.write_text(matrix(), encoding="utf-8")
    faults = list(missing())
    for fault in faults:
        sys.stderr.write(f"{fault}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
