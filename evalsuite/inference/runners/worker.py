"""A worker: opens the model package, checks that it is the one asked for, and answers shards with it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evalsuite.errors import EvalsuiteError, InputError, IntegrityError, ModelRunError
from evalsuite.inference.runners.base import Answer, Facts, Lease, Work
from evalsuite.inference.settings import InferenceSettings
from evalsuite.sandbox.policy import SANDBOXED, Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWorker:
    """How to make a predictor from a model package; called on the worker's own machine.

    `path` and `contract` must lead there to what the driver opened: the digests are compared.
    """

    path: str
    contract: str | None
    digest: str
    contract_digest: str
    settings: InferenceSettings
    binding: Mapping[str, str]
    sandbox: Sandbox = SANDBOXED

    def __call__(self, decoders: int | None = None) -> PackagePredictor:
        settings = replace(self.settings, decoders=self.settings.decoders or decoders or 1)
        return PackagePredictor(replace(self, settings=settings))


class PackagePredictor:
    """A packaged model on one device of this machine, from `PackageWorker`.

    Raises
    ------
    InputError
        If the package is not there, or has not the digest the driver saw.
    """

    def __init__(self, made_from: PackageWorker) -> None:
        from evalsuite.inference import device as devices
        from evalsuite.inference.hooks import default_hooks
        from evalsuite.inference.process import share_cores
        from evalsuite.sandbox.open import open_model

        settings = made_from.settings
        model: Any = open_model(Path(made_from.path), contract=made_from.contract, sandbox=made_from.sandbox)
        if (model.digest, model.contract_digest) != (made_from.digest, made_from.contract_digest):
            raise IntegrityError(
                f"the model at {made_from.path} on {socket.gethostname()} is not the one of this run",
                hint="Give every machine of the cluster the same package under the same path.",
            )
        model, notes = devices.place(model, devices.choose_device(settings.device), settings)
        self._device = str(model.device)
        on_cpu = not self._device.startswith("cuda")
        self._threads, self._decoders = share_cores(on_cpu=on_cpu, threads=settings.threads, decoders=settings.decoders)
        self._model = model.with_threads(self._threads)
        self._here = devices.batches_on(self._model)
        self._settings = settings
        self._notes = tuple(notes)
        self._hooks = default_hooks(self._model, made_from.binding)
        self._stack = ExitStack()
        self._warned = self._stack.enter_context(devices.deterministic(seed=settings.seed, threads=self._threads))

    def facts(self) -> Facts:
        from evalsuite.inference import device as devices

        policy = devices.numeric_policy(
            device=self._device,
            settings=self._settings,
            batch_size=0,
            threads=self._threads,
            outputs_format=self._model.format,
        )
        del policy["batch_size"]
        return Facts(
            node=socket.gethostname(),
            device=self._device,
            device_name=devices.device_name(self._device),
            threads=self._threads,
            decoders=self._decoders,
            policy=policy,
            versions=devices.package_versions(),
            notes=self._notes,
        )

    def probe(self, work: Work) -> tuple[str, ...]:
        """Output names; empty where memory does not hold the probe's batch (the run then finds out which one fits)."""
        from evalsuite.inference.probe import probe
        from evalsuite.inference.sources import checked
        from evalsuite.inference.step import OutOfMemory

        try:
            return probe(self._model, work.cases, checked(self._hooks, work.digests), device=self._here)
        except OutOfMemory:
            return ()

    def predict_shards(self, lease: Lease) -> Answer:
        """Answers for all shards of the lease. Errors are handed back, not raised: the driver decides about them."""
        from evalsuite.inference import crew, packaged
        from evalsuite.inference import device as devices
        from evalsuite.inference.sources import checked
        from evalsuite.inference.step import OutOfMemory

        clock = packaged.Clock()
        plan = packaged.Plan(
            shards=tuple(work.cases for work in lease.works),
            keys=("",) * len(lease.works),
            batch_size=lease.batch_size,
        )
        digests = {path: digest for work in lease.works for path, digest in work.digests.items()}
        try:
            shards = dict(
                packaged.predict_shards(
                    plan,
                    range(len(lease.works)),
                    [crew.Worker(model=self._model, device=self._here)],
                    checked(self._hooks, digests),
                    n_decoders=self._decoders,
                    clock=clock,
                    outputs=lease.outputs,
                    seed=self._settings.seed,
                )
            )
        except OutOfMemory:
            devices.free_memory(self._device)
            return Answer(out_of_memory=True)
        except EvalsuiteError as error:
            return Answer(error=_portable(error))
        except Exception as error:  # a fault of ours or of a library: it must end the run in words, not a worker
            return Answer(error=ModelRunError(f"a worker failed with {type(error).__name__}"))
        return Answer(
            shards={lease.works[i].index: shard for i, shard in shards.items()},
            seconds={
                "read_decode": clock.read_decode,
                "wait": clock.wait,
                "copy": clock.copy,
                "predict": clock.predict,
            },
            latency=np.concatenate(clock.latency) if clock.latency else np.zeros(0),
            warned=(*self._warned, *getattr(self._model, "warned", ())),
        )

    def close(self) -> None:
        """Put this process's torch back as it was, and end the model's process."""
        self._stack.close()
        self._model.close()


def _portable(error: EvalsuiteError) -> EvalsuiteError:
    """The same error without its causes, which may not survive the way to the driver."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def require_same(first: Facts, other: Facts) -> None:
    """InputError naming both sides where two workers would not compute the same bits."""
    mine, theirs = _flat(first.policy), _flat(other.policy)
    names = sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n))
    if names:
        differing = "; ".join(f"{n}: {mine.get(n, 'none')} and {theirs.get(n, 'none')}" for n in names)
        raise InputError(
            f"the workers on {first.node} and {other.node} would not compute the same numbers: {differing}",
            hint="Give all machines of a run the same kind of device and the same installed versions.",
        )


def _flat(policy: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in policy.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name} ")
        else:
            found[f"{prefix}{name}"] = str(value)
    return found
