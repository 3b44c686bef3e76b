"""One spelling for every record, so that equal contents have equal bytes and therefore equal digests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from evalsuite.errors import EvalsuiteError, InputError
from evalsuite.record.files import atomic_write


def canonical_json(obj: Any) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8, no trailing newline; floats as the shortest text that reads back equal.

    Raises
    ------
    ValueError
        If a number is not finite, or a text is not valid Unicode.
    TypeError
        If a value or key has no JSON form (numpy scalars included: convert them where they arise).

    Examples
    --------
    >>> canonical_json({"b": 0.1, "a": [1, None]})
    b'{"a":[1,null],"b":0.1}'
    """
    return _ENCODER.encode(obj).encode("utf-8")


def _mapping_only(obj: object) -> dict[Any, Any]:
    if isinstance(obj, Mapping):
        return dict(obj)
    raise TypeError(f"{type(obj).__name__} has no canonical JSON form")


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_mapping_only
)


def write_json(path: Path, obj: Any) -> None:
    """Write canonical JSON in one step: readers see the old file or the new one, never half of it.

    Raises
    ------
    OutputError
        If the file cannot be written (permission, full disk).
    """
    atomic_write(path, canonical_json(obj))


def parse_json(data: bytes, name: str, *, error: type[EvalsuiteError] = InputError) -> Any:
    """Read JSON bytes strictly: UTF-8, no NaN or Infinity, no key twice. `name` is what messages call the file."""
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except UnicodeDecodeError as e:
        raise error(f"{name} is not UTF-8 text (byte {e.start})", hint="The file is damaged: restore it.") from e
    except json.JSONDecodeError as e:
        where = f"line {e.lineno}, column {e.colno}"
        raise error(f"{name} is not valid JSON ({e.msg}, {where})", hint="The file is damaged: restore it.") from e
    except (ValueError, RecursionError) as e:
        detail = str(e) if isinstance(e, _Refused) else "nested too deeply or a number too long"
        raise error(f"{name} is not valid JSON ({detail})", hint="The file is damaged: restore it.") from e


def read_json(path: Path, *, error: type[EvalsuiteError] = InputError) -> Any:
    """Read a JSON file strictly.

    Raises
    ------
    error
        If the file is absent, unreadable, not UTF-8, not JSON, holds NaN or Infinity, or a key twice.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as e:
        raise error(f"{path} is missing", hint="Check the path, or restore the file.") from e
    except OSError as e:
        raise error(f"{path} cannot be read ({e.strerror})", hint="Check the file's permissions.") from e
    return parse_json(data, str(path), error=error)


class _Refused(ValueError):
    pass


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("a key occurs twice")
    return found
