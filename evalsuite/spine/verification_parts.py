"""What every verification shares: what the reader brings along, and how a check that cannot be made is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalsuite.errors import EvalsuiteError
from evalsuite.record.trust import NO_TRUST, Check, CheckStatus, Trust

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from evalsuite.testset.encryption import ReferenceKey

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What the person who verifies brings along: keys and certificates they trust, and who shows progress."""

    trust: Trust = NO_TRUST
    tsa_roots: tuple[Certificate, ...] = ()
    reference_key: ReferenceKey | None = None
    on_progress: OnProgress | None = None
    store: str | None = None


def checked(name: str, work: Callable[[], tuple[CheckStatus, str]]) -> Check:
    """One check; a sealed file that no longer parses is broken, not an error of ours."""
    try:
        status, detail = work()
    except EvalsuiteError as error:
        return Check(name=name, status="broken", detail=error.message)
    except OSError as error:
        return Check(name=name, status="broken", detail=f"cannot be read ({error.strerror})")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Check(
            name=name, status="broken", detail=f"does not have the form it was written in ({type(error).__name__})"
        )
    return Check(name=name, status=status, detail=detail)
