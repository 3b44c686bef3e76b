"""A network that sees a volume through windows: MONAI's sliding window, sized and weighted by the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evalsuite.errors import ModelRunError
from evalsuite.models.quiet import without_warnings

if TYPE_CHECKING:
    import torch

    from evalsuite.models.contract_volumes import SlidingWindow


def run_through_windows(
    run: Callable[[torch.Tensor], Sequence[torch.Tensor]], volume: torch.Tensor, window: SlidingWindow
) -> list[torch.Tensor]:
    """Outputs (n, channel, *spatial) of a network for whole volumes, from windows of `window.roi`.

    Every case is run by itself, so that memory holds the windows and merged outputs of one.

    Raises
    ------
    ModelRunError
        If MONAI is not installed.
    """
    import torch

    try:
        with without_warnings():
            from monai.inferers.utils import sliding_window_inference
    except ImportError:
        raise ModelRunError(
            "the model's contract declares a sliding window, and MONAI is not installed",
            hint="Install it: pip install 'evalsuite[volumes]'",
        ) from None

    def predictor(windows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(run(windows))

    cases = []
    for case in volume:
        merged = sliding_window_inference(
            case[None],
            roi_size=window.roi,
            sw_batch_size=window.batch,
            predictor=predictor,
            overlap=window.overlap,
            mode=window.mode,
            sigma_scale=window.sigma_scale,
            padding_mode="constant",
            cval=0.0,
        )
        cases.append(merged if isinstance(merged, tuple) else (merged,))
    return [torch.cat(list(same)) for same in zip(*cases, strict=True)]
