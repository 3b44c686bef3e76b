"""Maps and measures of a batch of images, beside the network: the same code in this process and in the sandbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evalsuite.attribution.job import STAGES, Attributed, Job
from evalsuite.attribution.maps import attributions, require_possible, to_map
from evalsuite.attribution.measures import faithfulness
from evalsuite.attribution.scorer import Scorer
from evalsuite.attribution.shuffled import fixed, parameters_of, shuffled
from evalsuite.errors import ContractError, EvalsuiteError, ModelRunError
from evalsuite.models.determinism import is_out_of_memory, seed_generators
from evalsuite.protocol.interpretability import TRIVIAL_PREFIX, Method
from evalsuite.stats.faithfulness import trivial_maps

if TYPE_CHECKING:
    from evalsuite.models.base import PackagedModel


def attribute(model: PackagedModel, inputs: list[torch.Tensor], job: Job) -> Attributed:
    """Everything a job asks of these images.

    Parameters
    ----------
    inputs
        Tensors (n, channel, *spatial) float32 in the order of the contract, as the network takes them, on its device.

    Raises
    ------
    ModelRunError
        If the network fails, or gives what is not its contract's.
    ContractError
        If the network does not give what a method or measure needs.
    """
    try:
        with fixed(model.network):
            return _attribute(model, inputs, job)
    except EvalsuiteError:
        raise
    except Exception as error:  # whatever the package's own code raised on the way, forwards or backwards
        if is_out_of_memory(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = f"{type(error).__name__}: {lines[-1][:300] if lines else 'no message'}"
        raise ModelRunError(
            f"model {model.name} failed while its answers were traced back to the image: {said}",
            hint="Its format may not give derivatives: use occlusion, feature_ablation or rise.",
        ) from error


def scorer_of(model: PackagedModel, inputs: list[torch.Tensor], job: Job) -> Scorer:
    """The network with the target of the job."""

    def forward(x: list[torch.Tensor]) -> Any:
        return model.raw(x)

    return Scorer(forward=forward, spec=model.contract.outputs[job.output], job=job, inputs=inputs)


def _attribute(model: PackagedModel, inputs: list[torch.Tensor], job: Job) -> Attributed:
    asked, counts, notes = job.asked, Counter[str](), dict[str, str]()
    scorer = replace(scorer_of(model, inputs, job), counts=counts)
    seed_generators(job.seed % 2**32)
    scorer.see()
    assert scorer.clean is not None, "the images were just shown"
    maps: dict[str, np.ndarray] = {}
    raw: dict[str, torch.Tensor] = {}
    for method in asked.methods:
        raw[method.label], note = _of(method, scorer.for_(method.label), model, job)
        maps[method.label] = _map(raw[method.label], method)
        notes[method.label] = note
    for i in range(scorer.n):
        for name, plain in trivial_maps(_numpy(scorer.image[i])).items():
            maps.setdefault(TRIVIAL_PREFIX + name, np.zeros((scorer.n, *scorer.spatial), dtype=np.float32))[i] = plain
    values = {("model", "target", "clean"): _numpy(scorer.clean).astype(np.float64)}
    if "randomisation" in asked.measures:
        for share in STAGES[asked.randomisation]:
            with shuffled(model.network, share=share, seed=job.seed):
                other = _again(scorer.renewed(), "randomisation", asked.methods)
                for method in asked.methods:
                    found, _ = _of(method, other, model, job)
                    maps[f"{method.label}@randomised:{share:g}"] = _map(found, method)
    largest: dict[str, np.ndarray] = {}
    if {"reproducibility", "sensitivity"} & set(asked.measures):
        for k in range(asked.noise_samples):
            noisy = _again(scorer.renewed(image=_with_noise(scorer.image, job, k)), "noise", asked.methods)
            for method in asked.methods:
                found, _ = _of(method, noisy, model, job)
                if "reproducibility" in asked.measures:
                    maps[f"{method.label}@noise:{k}"] = _map(found, method)
                change = _relative_change(found, raw[method.label])
                largest[method.label] = np.fmax(largest.get(method.label, np.full(scorer.n, np.nan)), change)
    if "sensitivity" in asked.measures:
        values |= {(label, "sensitivity", "max"): v for label, v in largest.items()}
    of_trivial = {name: torch.from_numpy(m)[:, None] for name, m in maps.items() if name.startswith(TRIVIAL_PREFIX)}
    shown = {name: m for name, m in maps.items() if "@" not in name}
    values |= faithfulness(scorer, shown, raw | of_trivial, job)
    return Attributed(maps=maps, values=values, passes=dict(counts), notes=notes)


def _of(method: Method, scorer: Scorer, model: PackagedModel, job: Job) -> tuple[torch.Tensor, str]:
    return attributions(method, scorer, model.network, seeds=job.seeds, seed=job.seed)


def _map(raw: torch.Tensor, method: Method) -> np.ndarray:
    """What is stored: a map with a value that is no number shows nothing, and is 0 everywhere."""
    found = _numpy(to_map(raw, method)).astype(np.float32)
    sound = np.isfinite(found).reshape(len(found), -1).all(axis=1)
    return np.where(sound.reshape(-1, *([1] * (found.ndim - 1))), found, np.float32(0.0))


def _again(scorer: Scorer, purpose: str, methods: list[Method]) -> Scorer:
    """Counted under `purpose`; shown once more unchanged where a method subtracts from that answer."""
    from evalsuite.attribution.job import COMPARING

    found = scorer.for_(purpose)
    if any(m.method in COMPARING for m in methods):
        found.see()
    return found


def _with_noise(image: torch.Tensor, job: Job, number: int) -> torch.Tensor:
    """Each image with uniform noise within a share of its own range, from its own seed: Yeh et al., eq. 4."""
    out = []
    for i in range(image.shape[0]):
        one = image[i]
        generator = torch.Generator().manual_seed((job.seeds[i] * 1009 + number) % 2**63)
        spread = float(one.max() - one.min()) * job.asked.noise
        noise = (torch.rand(one.shape, generator=generator) * 2 - 1) * spread
        out.append(one + noise.to(one.device))
    return torch.stack(out)


def _relative_change(other: torch.Tensor, own: torch.Tensor) -> np.ndarray:
    """Length of the difference as a share of the map's own length, NaN where that is 0; (n,)."""
    a, b = other.flatten(1).double(), own.flatten(1).double()
    length = torch.linalg.vector_norm(b, dim=1)
    change = torch.linalg.vector_norm(a - b, dim=1) / length
    return np.where(_numpy(length) > 0, _numpy(change), np.nan)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().cpu().numpy()
    return found


def refusals(methods: Sequence[Method], model: Any) -> list[str | None]:
    """Why a package cannot be asked for each method, and at last for the test by parameters; None where it can.

    Known before any image is shown.
    """
    network = getattr(model, "network", None)  # a program that is given files has none
    parameters = any(p.numel() > 1 for p in parameters_of(network))
    of_test = None if parameters else "this format holds its parameters where they cannot be shuffled"
    return [*(_refusal(m, network) for m in methods), of_test]


def _refusal(method: Method, network: Any) -> str | None:
    try:
        require_possible(method, network)
    except ContractError as error:
        return error.message
    return None
