"""The conditional PatchGAN discriminators of AG-GAN and AG-GAN+, for training (networks.md section 6.4).

Derived from J. Kim et al., "U-GAT-IT", ICLR 2020, section 2.1.2, whose public names they keep.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import spectral_norm

from meetmid.networks.aggan import Attention, class_activation
from meetmid.networks.blocks import SqueezeExcite


def _conv(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.ReflectionPad2d(1), spectral_norm(nn.Conv2d(inputs, outputs, 4, stride)), nn.LeakyReLU(0.2)
    ]


class AGGANDiscriminator(nn.Module):
    """A (thermal, picture) pair to a map of scores and, with class activation, two logits.

    At 256 pixels ``layers`` = 7 scores 6 x 6 and ``layers`` = 5 scores 30 x 30 patches; AG-GAN trains with both.
    ``attention`` is the generator's; ``channels`` counts those of the two pictures together.
    """

    def __init__(self, layers: int, attention: Attention = "cam", channels: int = 6, width: int = 64) -> None:
        super().__init__()
        model = _conv(channels, width, 2)
        for _ in range(layers - 3):
            model += _conv(width, 2 * width, 2)
            width *= 2
        self.model = nn.Sequential(*model, *_conv(width, 2 * width, 1))
        inner = 2 * width
        self.attention = attention
        if attention == "cam":
            self.gap_fc = spectral_norm(nn.Linear(inner, 1, bias=False))
            self.gmp_fc = spectral_norm(nn.Linear(inner, 1, bias=False))
            self.conv1x1 = nn.Conv2d(2 * inner, inner, 1)
        else:
            self.squeeze_excite = SqueezeExcite(inner)
        self.pad = nn.ReflectionPad2d(1)
        self.conv = spectral_norm(nn.Conv2d(inner, 1, 4, bias=False))

    def attend(self, thermal: Tensor, picture: Tensor) -> tuple[Tensor, ...]:
        """The attended features (N, C, h, w) and, with class activation, the logits (N, 2)."""
        features = self.model(torch.cat([thermal, picture], 1))
        if self.attention == "se":
            return (self.squeeze_excite(features),)
        attended, logits = class_activation(features, self.gap_fc, self.gmp_fc, self.conv1x1)
        return functional.leaky_relu(attended, 0.2), logits

    def heat(self, thermal: Tensor, picture: Tensor) -> Tensor:
        """Where it looks, (N, 1, h, w): the attended features' mean over channels, as in the generator (section 6.2)."""
        return self.attend(thermal, picture)[0].mean(1, keepdim=True)

    def forward(self, thermal: Tensor, picture: Tensor) -> tuple[Tensor, ...]:
        """(N, C1, H, W) and (N, C2, H, W) to (scores (N, 1, h, w), logits (N, 2)), or (scores,) with squeeze-excitation."""
        attended, *logits = self.attend(thermal, picture)
        return self.conv(self.pad(attended)), *logits
