"""The perceptual loss of a recipe: VGG-19 where the user has its weights, else the identity matcher's early layers."""

from __future__ import annotations

from pathlib import Path

import torch
from meetmid.models.recipes.identity import FrozenMatcher, load_matcher
from meetmid.models.recipes.losses import VGG19_LAYERS, FeatureLoss, frozen, layer_features
from torch import Tensor, nn

_WIDTHS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


class VGG19Features(nn.Module):
    """The convolutions of VGG-19 up to relu5_1 under torchvision's names (K. Simonyan and A. Zisserman, ICLR 2015, net E)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width, count in _WIDTHS:
            for _ in range(count):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:30])

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures to relu5_1."""
        return self.features(x)


class MatcherFeatures:
    """The first two stages of a matcher in the place of VGG-19's layers."""

    def __init__(self, matcher: FrozenMatcher) -> None:
        self.matcher = matcher
        self.names = matcher.network.stages(matcher.contract.size)[:2]

    def __call__(self, pictures: Tensor) -> list[Tensor]:
        """Maps of (N, 3, H, W) in [-1, 1]."""
        maps: list[Tensor] = self.matcher.to(pictures.device).network.maps(self.matcher.prepare(pictures), self.names)
        return maps


def perceptual_loss(weights: Path | None, matcher: Path) -> FeatureLoss:
    """L_P on VGG-19 with the state dict ``weights``, or without one on ``matcher``, a substitute that cards have to name."""
    if weights is None:
        half = (0.5, 0.5, 0.5)
        return FeatureLoss(MatcherFeatures(load_matcher(matcher)), (0.5, 0.5), half, half)
    network = VGG19Features()
    state = torch.load(weights, weights_only=True)
    own = {name: value for name, value in state.items() if name in network.state_dict()}
    network.load_state_dict(own)
    return FeatureLoss(layer_features(frozen(network), list(VGG19_LAYERS)), tuple(VGG19_LAYERS.values()))
