"""Which runner a name on the command line means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalsuite.errors import InputError

if TYPE_CHECKING:
    from evalsuite.inference.runners import Runner


def runner_named(name: str, *, address: str | None = None, workers: int | None = None) -> Runner | None:
    """The runner of this name; None for "local", this process.

    Raises
    ------
    InputError
        If there is no runner of this name, or what was said of a cluster is said of none.
    """
    if name == "local":
        if address is not None:
            raise InputError(
                "--address is of a cluster, and the runner is local",
                hint="Add --runner ray, or leave it out.",
            )
        return None
    if name == "ray":
        from evalsuite.inference.runners.ray_runner import RayRunner

        return RayRunner(address=address, workers=workers)
    raise InputError(f"there is no runner {name!r}", hint="Runners: local, ray.")
