"""Where the protocols, templates and styles live: inside the wheel, or in the checkout of an editable installation."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(*parts: str) -> Path:
    """Path of a shipped resource, e.g. ``bundled("reports", "templates")``.

    Raises
    ------
    FileNotFoundError
        If neither the wheel's copy nor a checkout has it: the installation is incomplete.
    """
    for root in (_PACKAGE / "_bundled", _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"evalsuite is incompletely installed: {'/'.join(parts)} is missing")
