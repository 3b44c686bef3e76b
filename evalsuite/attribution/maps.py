"""Maps of what moves the answer: by derivatives where the network gives them, else by taking parts away.

Sundararajan et al. 2017 (integrated gradients), Lundberg & Lee 2017 (GradientSHAP), Shrikumar et al. 2017 (DeepLIFT),
Selvaraju et al. 2017 (Grad-CAM, guided), Zeiler & Fergus 2014 (occlusion), Petsiuk et al. 2018 (RISE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from evalsuite.attribution.job import cells, windows
from evalsuite.attribution.scorer import Scorer, batches, reduced
from evalsuite.attribution.tap import Tapped, tapped
from evalsuite.errors import ContractError, ModelRunError
from evalsuite.models.quiet import without_warnings
from evalsuite.protocol.interpretability import GRADIENTS, Method


def attributions(
    method: Method, scorer: Scorer, network: Any, *, seeds: tuple[int, ...], seed: int
) -> tuple[torch.Tensor, str]:
    """What each value of each image adds to its number: (n, channel or 1, *spatial), and a note on how it was made.

    Signed and not normalised. `scorer.see()` was called where the method compares with the unchanged image.

    Raises
    ------
    ContractError
        If the network does not give what the method needs.
    """
    require_possible(method, network)
    with without_warnings():
        match method.method:
            case "grad_cam":
                return _grad_cam(method, scorer, network)
            case "integrated_gradients":
                return _integrated(method, scorer), ""
            case "gradient_shap":
                return _gradient_shap(method, scorer, seeds), ""
            case "deep_lift":
                return _deep_lift(method, scorer, network), ""
            case "guided_grad_cam":
                return _guided(method, scorer, network)
            case "saliency":
                return _slopes(scorer), ""
            case "occlusion":
                return _without_parts(method, scorer, windows(method, scorer.spatial)), ""
            case "feature_ablation":
                return _without_parts(method, scorer, cells(method, scorer.spatial)), ""
            case "rise":
                return _rise(method, scorer, seed), ""


def require_possible(method: Method, network: Any) -> None:
    """ContractError where the package's format does not give what a method needs."""
    from evalsuite.models.numeric_network import module_of

    if method.method not in GRADIENTS:
        return
    if module_of(network) is None:
        raise ContractError(
            f"{method.method} needs derivatives, which this format does not give",
            hint="Use occlusion, feature_ablation or rise.",
        )
    if method.method in ("deep_lift", "guided_grad_cam"):
        _tree_of_modules(method, network)


def to_map(raw: torch.Tensor, method: Method) -> torch.Tensor:
    """Channels added up (n, *spatial), with the sign that the protocol asks for."""
    total = raw.sum(dim=1)
    if method.sign == "positive":
        return total.clamp(min=0)
    return total.abs() if method.sign == "absolute" else total


def emptied(method_baseline: str, image: torch.Tensor) -> torch.Tensor:
    """What stands in for what is taken away, of the image's own shape."""
    if method_baseline == "zero":
        return torch.zeros_like(image)
    axes = tuple(range(2, image.ndim))
    each = image.mean(dim=axes, keepdim=True) if method_baseline == "mean" else image.amin(dim=axes, keepdim=True)
    return each.expand_as(image).contiguous()


# --- by derivatives --------------------------------------------------------------------------------------------------


def _of_captum(scorer: Scorer) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    return lambda x, rows: scorer.of(x, rows)


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError:
        raise ModelRunError(
            "the protocol asks for a method of captum, which is not installed",
            hint="Install it: pip install 'evalsuite[attribution]'",
        ) from None
    return captum.attr


def _slopes(scorer: Scorer) -> torch.Tensor:
    found = []
    for rows in scorer.chunks(scorer.n):
        with torch.enable_grad():
            image = scorer.image[rows].detach().requires_grad_()
            (slope,) = torch.autograd.grad(scorer.of(image, rows).sum(), image)
        found.append(slope)
    return torch.cat(found)


def _integrated(method: Method, scorer: Scorer) -> torch.Tensor:
    path = _captum().IntegratedGradients(_of_captum(scorer))
    found = []
    # Few images at a time and many points of their paths: captum shows whole images at a point, so that a batch is full
    # only where the number of images divides it.
    for rows in batches(scorer.n, _divisor(scorer.job.batch_size, scorer.n)):
        image = scorer.image[rows]
        found.append(
            path.attribute(
                image, emptied(method.baseline, image), additional_forward_args=(rows,), n_steps=method.steps,
                internal_batch_size=max(scorer.job.batch_size, len(rows)),
            ).detach()
        )  # fmt: skip
    return torch.cat(found).to(scorer.image.dtype)


def _divisor(batch: int, n: int) -> int:
    """The largest number of images that fills a batch without remainder, no more than there are."""
    return max(k for k in range(1, min(batch, n) + 1) if batch % k == 0)


def _gradient_shap(method: Method, scorer: Scorer, seeds: tuple[int, ...]) -> torch.Tensor:
    from evalsuite.models.determinism import seed_generators

    shap = _captum().GradientShap(_of_captum(scorer))
    found = []
    for i in range(scorer.n):
        seed_generators(seeds[i])
        image, rows = scorer.image[i : i + 1], torch.tensor([i])
        parts, left = [], method.draws
        while left:
            k = min(left, scorer.job.batch_size)
            one = shap.attribute(
                image, baselines=emptied(method.baseline, image), n_samples=k, additional_forward_args=(rows,)
            )
            parts.append(one.detach() * k)
            left -= k
        found.append(torch.stack(parts).sum(dim=0) / method.draws)
    return torch.cat(found)


class _Answer(torch.nn.Module):
    """The network with its target, for methods that change how modules go backwards."""

    def __init__(self, module: torch.nn.Module, scorer: Scorer) -> None:
        super().__init__()
        self.module, self._scorer = module, scorer

    def forward(self, image: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return self._scorer.of(image, rows)


def _tree_of_modules(method: Method, network: Any) -> torch.nn.Module:
    from evalsuite.models.exported import ExportedNetwork
    from evalsuite.models.numeric_network import module_of

    module = module_of(network)
    if module is None or isinstance(module, torch.jit.ScriptModule) or isinstance(network, ExportedNetwork):
        raise ContractError(
            f"{method.method} changes how each module goes backwards, and a TorchScript or torch.export package is no "
            "tree of modules",
            hint="Use grad_cam or integrated_gradients, or package the network as Python source.",
        )
    return module


def _deep_lift(method: Method, scorer: Scorer, network: Any) -> torch.Tensor:
    found = []
    answer = _Answer(_tree_of_modules(method, network), scorer)
    lift = _captum().DeepLift(answer)
    for rows in batches(scorer.n, max(1, scorer.job.batch_size // 2)):
        image = scorer.image[rows]
        found.append(lift.attribute(image, emptied(method.baseline, image), additional_forward_args=(rows,)).detach())
    return torch.cat(found)


def _guided(method: Method, scorer: Scorer, network: Any) -> tuple[torch.Tensor, str]:
    module = _tree_of_modules(method, network)
    if not any(isinstance(m, torch.nn.ReLU) for m in module.modules()):
        raise ContractError(
            "guided_grad_cam is made for networks whose activations are ReLU modules, and this one has none",
            hint="Use grad_cam.",
        )
    coarse, note = _grad_cam(method, scorer, network)
    guide = _captum().GuidedBackprop(_Answer(module, scorer))
    found = []
    for rows in scorer.chunks(scorer.n):
        found.append(guide.attribute(scorer.image[rows], additional_forward_args=(rows,)).detach())
    return torch.cat(found) * coarse, note


def _grad_cam(method: Method, scorer: Scorer, network: Any) -> tuple[torch.Tensor, str]:
    run = tapped(network, layer=method.layer, last_is_output=scorer.spec.meaning == "mask")
    found = []
    note = ""
    for rows in scorer.chunks(scorer.n):
        scorer.count(len(rows))
        coarse, note = class_activation(run, scorer, rows)
        found.append(enlarged(coarse, scorer.spatial))
    return torch.cat(found), note


def class_activation(run: Tapped, scorer: Scorer, rows: torch.Tensor) -> tuple[torch.Tensor, str]:
    """ReLU(Σ w_k A_k) (n, 1, *layer) with w_k the mean derivative of channel k (Selvaraju et al., eq. 1 and 2)."""
    with torch.enable_grad():
        # where the network's parameters are fixed the image is what makes it differentiable
        image = scorer.image[rows].detach().requires_grad_()
        seen = run([image, *[x[rows] for x in scorer.inputs[1:]]])
        called = None if scorer.called is None else scorer.called[rows]
        answer = reduced(seen.outputs[scorer.job.output].float(), scorer.spec, scorer.job, called)
        (slope,) = torch.autograd.grad(answer.sum(), seen.activation)
    if seen.activation.ndim != scorer.image.ndim:
        raise ContractError(f"layer {seen.layer} has no spatial axes", hint="Name a convolution.")
    weight = slope.mean(dim=tuple(range(2, slope.ndim)), keepdim=True)
    note = f"layer {seen.layer}"
    if seen.uses > 1:
        note += f", the first of {seen.uses} uses in one pass"
    return (weight * seen.activation.detach()).sum(dim=1, keepdim=True).clamp(min=0), note


def enlarged(coarse: torch.Tensor, spatial: tuple[int, ...]) -> torch.Tensor:
    """A layer's map on the image's grid, by linear interpolation with equal outer edges."""
    if tuple(coarse.shape[2:]) == spatial:
        return coarse
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(spatial)]
    return torch.nn.functional.interpolate(coarse, size=spatial, mode=mode, align_corners=False)


# --- by taking parts away --------------------------------------------------------------------------------------------


def _pairs(n_images: int, n_changes: int, batch: int) -> Iterator[tuple[torch.Tensor, list[int]]]:
    """Batches of (image, change) over all pairs, image by image: row numbers, and numbers of changes."""
    for start in range(0, n_images * n_changes, batch):
        k = torch.arange(start, min(start + batch, n_images * n_changes))
        yield k // n_changes, (k % n_changes).tolist()


def _without_parts(method: Method, scorer: Scorer, parts: list[tuple[slice, ...]]) -> torch.Tensor:
    """What the answer loses with each part, spread over the part and averaged where parts overlap; (n, 1, *spatial)."""
    fill = emptied(method.baseline, scorer.image)
    assert scorer.clean is not None, "the unchanged images were shown"
    n = scorer.n
    lost = torch.zeros((n, len(parts)), dtype=torch.float64)
    for rows, numbers in _pairs(n, len(parts), scorer.job.batch_size):
        changed = scorer.image[rows]
        for k, number in enumerate(numbers):
            at = (slice(None), *parts[number])
            changed[k][at] = fill[int(rows[k])][at]
        values = scorer.values(changed, rows)
        lost[rows, numbers] = (scorer.clean[rows] - values).double().cpu()
    total = torch.zeros((n, *scorer.spatial), dtype=torch.float64)
    cover = torch.zeros(scorer.spatial, dtype=torch.float64)
    for number, part in enumerate(parts):
        total[(slice(None), *part)] += lost[:, number].reshape(-1, *([1] * len(part)))
        cover[part] += 1.0
    # strides wider than the window leave pixels that nothing ever covered
    return (total / cover.clamp(min=1.0))[:, None].float()


def _rise(method: Method, scorer: Scorer, seed: int) -> torch.Tensor:
    """The covariance of answer and mask over random masks: Petsiuk et al. eq. 6, without what a constant would add."""
    fill = emptied(method.baseline, scorer.image)
    n, spatial = scorer.n, scorer.spatial
    total = torch.zeros((n, *spatial), dtype=torch.float64)
    sums = torch.zeros(n, dtype=torch.float64)
    shown = torch.zeros(spatial, dtype=torch.float64)
    for start in range(0, method.draws, scorer.job.batch_size):
        numbers = range(start, min(start + scorer.job.batch_size, method.draws))
        masks = torch.stack([_random_mask(method.cells, spatial, seed, k) for k in numbers])
        shown += masks.double().sum(dim=0)
        for i in range(n):
            rows = torch.full((len(masks),), i)
            m = masks[:, None].to(scorer.image.device)
            changed = scorer.image[rows] * m + fill[rows] * (1.0 - m)
            values = scorer.values(changed, rows).double().cpu()
            total[i] += (values.reshape(-1, *([1] * len(spatial))) * masks.double()).sum(dim=0)
            sums[i] += values.sum()
    mean = (sums / method.draws).reshape(-1, *([1] * len(spatial)))
    return ((total - mean * shown) / method.draws)[:, None].float()


def _random_mask(side: int, spatial: tuple[int, ...], seed: int, number: int) -> torch.Tensor:
    """Half of a coarse grid's points shown, smoothly in between, and the grid displaced by less than a cell."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
    d = len(spatial)
    coarse = (torch.rand((1, 1, *[side + 1] * d), generator=generator) < 0.5).float()
    cell = [-(-s // side) for s in spatial]
    shift = [int(torch.randint(c, (1,), generator=generator)) for c in cell]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[d]
    large = torch.nn.functional.interpolate(
        coarse, size=[(side + 1) * c for c in cell], mode=mode, align_corners=False
    )[0, 0]
    return large[tuple(slice(a, a + s) for a, s in zip(shift, spatial, strict=True))]
