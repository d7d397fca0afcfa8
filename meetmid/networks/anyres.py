"""ANYRES, the any-resolution thermal-to-visible generator of Anghelone et al. (networks.md section 5).

A U-Net whose skips are gated by squeeze-excitation after every concatenation (ANYRES, eqs. 3-7). The paper gives neither
depth, widths nor kernels: the defaults are the choices of networks.md section 5.1. Names are this library's own, as no
weights were published.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from meetmid.networks.blocks import SqueezeExcite


def _conv_bn_relu(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """H of eq. 3: two times conv3x3 - BN - ReLU."""
    return nn.Sequential(*_conv_bn_relu(inputs, outputs), *_conv_bn_relu(outputs, outputs))


class Decode(nn.Module):
    """One decoder level, G = H'(SE([F || S(G_below)])) (eqs. 5-7); S = nearest x2 - conv3x3 - BN - ReLU, halving channels."""

    def __init__(self, below: int, skip: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *_conv_bn_relu(below, skip))
        self.gate = SqueezeExcite(2 * skip)
        self.merge = _double(2 * skip, skip)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """(N, skip, H, W) and (N, below, H / 2, W / 2) to (N, skip, H, W)."""
        out: Tensor = self.merge(self.gate(torch.cat([skip, self.up(below)], 1)))
        return out


class AnyRes(nn.Module):
    """(N, channels, H, W) thermal in [-1, 1] to (N, 3, H, W) visible RGB in (-1, 1).

    The net keeps the size: a picture of lower resolution is enlarged to 128 x 128 first. H and W are multiples of
    2 ** (len(widths) - 1), 16 by default. ``widths`` are the channels of F_0 ... F_K; ``channels`` is 3 or 1.
    """

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            _double(inputs, outputs) for inputs, outputs in zip((channels, *widths), widths, strict=False)
        )
        self.decoder = nn.ModuleList(
            Decode(below, skip) for below, skip in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.image = nn.Conv2d(widths[0], 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        maps = [self.encoder[0](x)]
        for encode in self.encoder[1:]:
            maps.append(encode(functional.max_pool2d(maps[-1], 2)))
        decoded = maps.pop()
        for decode in self.decoder:
            decoded = decode(maps.pop(), decoded)
        return torch.tanh(self.image(decoded))
