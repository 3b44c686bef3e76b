"""The demonstration classifier: a small residual network that pools its evidence over the whole image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """Two 3 x 3 convolutions around an identity."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(inner)))


class Trunk(nn.Module):
    """Features (n, 32, 32, 32) of images (n, 1, 128, 128)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            Residual(width),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            Residual(2 * width),
            Residual(2 * width, dilation=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class NoduleNet(nn.Module):
    """Logit of "a nodule is present" (n, 1) of images (n, 1, 256, 256) with values from 0 to 1."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.trunk = Trunk(width)
        self.place = nn.Conv2d(2 * width, 1, 1)
        self.head = nn.Linear(4 * width, 1)

    def halved(self, image: Tensor) -> Tensor:
        """The image at half its size, centred around 0."""
        return (functional.avg_pool2d(image, 2) - 0.45) * 4.0

    def evidence(self, small: Tensor) -> tuple[Tensor, Tensor]:
        """Image logit (n, 1) and map of local logits (n, 1, 32, 32) of a halved image; the map serves training only."""
        features = self.trunk(small)
        pooled = torch.cat([features.amax(dim=(2, 3)), features.mean(dim=(2, 3))], dim=1)
        return self.head(pooled), self.place(features)

    def forward(self, image: Tensor) -> Tensor:
        return self.evidence(self.halved(image))[0]


class Packaged(nn.Module):
    """What is shipped: the network with its sigmoid, giving the probability of a nodule (n, 1).

    Logits are held within ±15: beyond that float32 rounds the sigmoid to exactly 1, and a probability of 1 has no logit
    to recalibrate.
    """

    def __init__(self, network: NoduleNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(image).clamp(-15.0, 15.0))
