"""Tables from clinics and vendors, read as text: nothing is guessed, rounded or taken for missing."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.errors import CaseTableError, EvalsuiteError, Problem

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 20
"""Bytes of a table that are parsed at once: several times faster than a large table in one piece."""
FIRST_ROW = 2  # rows are numbered as a spreadsheet shows them: the header is row 1


def read_table(path: Path, *, error: type[EvalsuiteError] = CaseTableError) -> pd.DataFrame:
    """Read a CSV (UTF-8, comma-separated, optionally gzipped) or Parquet file with every cell as text.

    CSV cells stay as they are written. Parquet cells become text: whole numbers "1", fractions the shortest text that
    reads back equal, truth values "true" and "false", dates in ISO form, null and not-a-number "". The kind of file is
    told from its first bytes, not from its name.

    Returns
    -------
    pandas.DataFrame
        One row per record in file order, index 0 … n-1, all columns text. It may have no rows.

    Raises
    ------
    error
        If the file is absent, unreadable or not a table; a column name is empty or occurs twice; or rows do not have as
        many cells as the header (all of them listed). Cell contents are never part of the message.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as e:
        raise error(f"{path} does not exist", hint="Check the path of the table.") from e
    except OSError as e:
        raise error(f"{path} cannot be read ({e.strerror})", hint="Check the path and its permissions.") from e
    return parse_table(data, path, error=error)


def parse_table(data: bytes, path: Path, *, error: type[EvalsuiteError] = CaseTableError) -> pd.DataFrame:
    """A table that was read into memory, as `read_table` gives it; `path` names it in messages."""
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as e:
        raise error(f"{path} is a damaged gzip file", hint="Write it again.") from e
    return _parquet(data, path, error) if data[:4] == b"PAR1" else _csv(data, path, error)


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint "did you mean 'x'?" or "", for a name that is not among `known`."""
    known = list(known)
    lowered = {k.casefold(): k for k in known}
    close = difflib.get_close_matches(name.casefold(), lowered, n=1, cutoff=0.6)
    return f"did you mean {lowered[close[0]]!r}?" if close else ""


def row_list(rows: Sequence[int], limit: int = 12) -> str:
    """ "row 2" or "rows 2, 5, 9 and 4 more" for zero-based positions of data rows."""
    numbers = [str(r + FIRST_ROW) for r in rows[:limit]]
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(numbers)}{more}"


def _check_names(names: Sequence[str], path: Path, error: type[EvalsuiteError]) -> None:
    problems = [Problem(what="column without a name", where=f"column {i + 1}") for i, n in enumerate(names) if not n]
    for name in dict.fromkeys(names):
        at = [str(i + 1) for i, n in enumerate(names) if n == name]
        if name and len(at) > 1:
            problems.append(Problem(what=f"column {name!r} occurs {len(at)} times", where=f"columns {', '.join(at)}"))
    if problems:
        raise error(f"{path}: the header is not usable", problems=problems, hint="Give every column its own name.")


def _csv(data: bytes, path: Path, error: type[EvalsuiteError]) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import csv as pacsv

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        row = data.count(b"\n", 0, e.start) + 1
        raise error(
            f"{path} is not UTF-8 text (line {row})", hint="Save the table as 'CSV UTF-8', or as Parquet."
        ) from e
    if "\0" in text:
        raise error(f"{path} is neither CSV nor Parquet", hint="Save the table as 'CSV UTF-8', or as Parquet.")
    try:
        names = next((row for row in csv.reader(io.StringIO(text, newline="")) if row), [])
    except csv.Error as e:
        raise error(f"{path} is not valid CSV: its header cannot be read", hint="Save the table as 'CSV UTF-8'.") from e
    if not names:
        raise error(f"{path} is empty: it has no header", hint="The first line names the columns.")
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in names[0]:
            raise error(f"{path} is separated by {word}, not commas", hint="Save the table as comma-separated CSV.")
    _check_names(names, path, error)
    ragged: list[tuple[int | None, int, int]] = []

    def note(row: Any) -> str:
        ragged.append((row.number, row.expected_columns, row.actual_columns))
        return "skip"

    def read(block: int) -> Any:
        ragged.clear()
        return pacsv.read_csv(
            io.BytesIO(text.encode("utf-8")),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=block),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
            convert_options=pacsv.ConvertOptions(
                column_types={n: pa.string() for n in names},
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )

    whole = max(_BLOCK, min(len(data) + 1, 1 << 30))
    try:
        try:
            table = read(_BLOCK).combine_chunks()
        except pa.ArrowInvalid:
            table = read(whole)  # a row may be longer than a block
    except pa.ArrowInvalid as e:
        raise error(f"{path} is not valid CSV", hint="Save the table again as 'CSV UTF-8'.") from e
    if ragged:
        problems = [
            Problem(what=f"{actual} cells where the header has {expected}", where=f"row {number}" if number else "")
            for number, expected, actual in ragged
        ]
        raise error(
            f"{path}: {len(ragged)} rows do not fit the header",
            problems=problems,
            hint='Put quotes (") around cells that contain a comma.',
        )
    frame: pd.DataFrame = table.rename_columns(names).to_pandas(ignore_metadata=True).astype("str")
    return frame


def _parquet(data: bytes, path: Path, error: type[EvalsuiteError]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as e:
        raise error(f"{path} is a damaged Parquet file", hint="Write it again from its source.") from e
    names = [str(n) for n in table.column_names]
    _check_names(names, path, error)
    columns: dict[str, list[str]] = {}
    problems = []
    for i, name in enumerate(names):
        texts = _arrow_texts(table.column(i))
        if texts is None:
            problems.append(Problem(what=f"column {name!r} holds {table.column(i).type}, which has no text form"))
        else:
            columns[name] = texts
    if problems:
        raise error(f"{path} has columns that cannot be used", problems=problems, hint="Convert them to text.")
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows)).astype("str")


def _arrow_texts(column: Any) -> list[str] | None:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        # the shortest text of the narrow number: 0.1, not 0.10000000149011612
        narrow = column.to_numpy()
        valid = [not bad for bad in column.is_null(nan_is_null=True).to_pylist()]
        return [str(x) if ok else "" for x, ok in zip(narrow, valid, strict=True)]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind):
        return None
    return [cell_text(cell) for cell in column.to_pylist()]


def cell_text(cell: Any) -> str:
    """A cell's text: "" for null and not-a-number, "true"/"false", ISO dates, shortest exact numbers."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return repr(cell)
    if hasattr(cell, "isoformat"):
        return str(cell.isoformat())
    return str(cell)
