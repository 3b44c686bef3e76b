"""Command line of the coverage study: run the campaign, write the tables."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

from benchmarks.coverage import pages, store
from benchmarks.coverage.campaign import FAMILIES, Piece, of_piece, remaining
from benchmarks.coverage.study import Tallies


def run(place: Path, *, jobs: int, minutes: float, only: Sequence[str], studies: int | None) -> None:
    """Work through what is not finished until the time is up."""
    stop = time.monotonic() + 60.0 * minutes
    todo = iter(remaining(place, only, studies))
    done = 0
    with ProcessPoolExecutor(jobs) as pool:
        running: dict[Future[tuple[Tallies, float]], Piece] = {pool.submit(of_piece, p): p for p in islice(todo, jobs)}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                piece = running.pop(future)
                tallies, seconds = future.result()
                store.append(place, piece.cell, piece.number, tallies)
                done += 1
                print(f"{done} {seconds:.1f} s {piece.cell.key} piece {piece.number}", flush=True)
                if time.monotonic() < stop:
                    running |= {pool.submit(of_piece, p): p for p in islice(todo, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--minutes", type=float, default=1e6, help="start nothing new after so many minutes")
    parser.add_argument("--only", nargs="*", default=[], metavar="FAMILY", help=", ".join(f.name for f in FAMILIES))
    parser.add_argument("--studies", type=int, help="of each design, at most")
    parser.add_argument("--place", type=Path, default=store.PLACE, help="where finished pieces are kept")
    options = parser.parse_args()
    if options.what == "run":
        run(
            options.place,
            jobs=options.jobs,
            minutes=options.minutes,
            only=options.only,
            studies=options.studies,
        )
    else:
        pages.write(options.place, Path("docs"))


if __name__ == "__main__":
    main()
