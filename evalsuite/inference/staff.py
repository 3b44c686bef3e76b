"""How many workers a run has, and where: one per device, or as many processes as were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalsuite.errors import InputError
from evalsuite.inference.crew import Worker
from evalsuite.inference.device import batches_on

if TYPE_CHECKING:
    from evalsuite.inference.settings import InferenceSettings


def places(model: Any, devices: Sequence[str], settings: InferenceSettings) -> tuple[list[str], list[str]]:
    """The device of each worker, and what a reader of the record must know about them.

    Workers are processes of their own. A model that runs in this one, because nothing of it can execute code or because
    it was asked to, has one worker: two would share one generator of random numbers.

    Raises
    ------
    InputError
        If several workers were asked for and the model can have only one.
    """
    n = settings.workers or len(devices)
    if n == 1:
        return [devices[0]], []
    if not hasattr(model, "another"):
        if settings.workers is not None:
            raise InputError(
                f"the model {model.name} runs in this process and has one worker; {n} are asked for",
                hint="Leave --workers out; several workers need a model that runs in the sandbox.",
            )
        return [devices[0]], [f"{len(devices) - 1} more CUDA device(s) not used: the model runs in this process"]
    return [devices[i % len(devices)] for i in range(n)], []


def hire(model: Any, where: Sequence[str], settings: InferenceSettings, *, threads: int, most: int) -> list[Worker]:
    """`model`, which is in its place already, and others like it on the remaining devices; `most` workers at most.

    Those that an earlier stage of the same run has hired go on working: each holds the model and its memory.
    """
    others = [_one_more(model, k, where[k], settings, threads) for k in range(1, min(most, len(where)))]
    return [Worker(model=one, device=batches_on(one)) for one in (model, *others)]


def _one_more(model: Any, number: int, device: str, settings: InferenceSettings, threads: int) -> Any:
    kept: dict[Any, Any] = getattr(model, "hired", {})
    key = (number, device, settings.numerics, threads)
    if key not in kept:
        other = model.another().to(device).with_threads(threads)
        as_packaged = settings.numerics.as_packaged
        kept[key] = other if as_packaged else other.with_numerics(settings.numerics, threads=threads)
    return kept[key]
