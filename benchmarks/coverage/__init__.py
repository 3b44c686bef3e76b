"""Does a 95 % interval hold the truth 95 times in 100: simulated studies of every interval method, as tables.

    python -m benchmarks.coverage run [--jobs 2] [--minutes 60] [--only roc]
    python -m benchmarks.coverage table

`run` simulates studies whose true value is known, calls the suite's own functions on each, and notes whether the
interval holds the truth; finished pieces are kept in `.coverage/`, so that it goes on where it stopped. `table` writes
the pages of `docs/statistics/coverage/` and the summary in `docs/statistics.md`.
"""
