"""Adaptive layer-instance normalisation, and its non-adaptive form LIN, of AG-GAN's decoder (networks.md section 6.3).

Source: J. Kim et al., "U-GAT-IT", ICLR 2020, eq. 1. Per sample, with mean and unbiased variance over H, W (instance, I) and
over C, H, W (layer, L):

    y = gamma * (rho * (x - mean_I) / sqrt(var_I + eps) + (1 - rho) * (x - mean_L) / sqrt(var_L + eps)) + beta

It is computed fused, as y = x * (a gamma) + (b gamma + beta) with one a and b per sample and channel: exact, and closer to
PyTorch in an exported graph than the formula as written. For half precision export it with the dynamo exporter: the
TorchScript one writes the sizes as casts that a conversion to half precision leaves in single (networks.md section 10).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-5


def scale_and_shift(x: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    """a and b of the mixed normalisation a x + b: (N, C, H, W) and (1, C, 1, 1) to two of (N, C, 1, 1).

    The layer's statistics follow from the instances': mean_L = mean_c mean_I, and the biased var_L =
    mean_c(var_I + (mean_I - mean_L)^2). The corrections n / (n - 1) stay ratios, as C H W - 1 does not fit half precision.
    """
    pixels = x.shape[2] * x.shape[3]
    values = pixels * x.shape[1]
    mean_instance = x.mean((2, 3), keepdim=True)
    var_instance = (x - mean_instance).square().mean((2, 3), keepdim=True)
    mean_layer = mean_instance.mean(1, keepdim=True)
    var_layer = (var_instance + (mean_instance - mean_layer).square()).mean(1, keepdim=True)
    of_instance = rho * torch.rsqrt(var_instance * (pixels / (pixels - 1)) + EPSILON)
    of_layer = (1 - rho) * torch.rsqrt(var_layer * (values / (values - 1)) + EPSILON)
    return of_instance + of_layer, -(mean_instance * of_instance + mean_layer * of_layer)


class AdaLIN(nn.Module):
    """Normalisation whose gamma and beta come from outside; rho starts at 0.9."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, channels, 1, 1), 0.9))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """(N, C, H, W), (N, C) and (N, C) to the shape of ``x``."""
        scale, shift = scale_and_shift(x, self.rho)
        gamma, beta = gamma[:, :, None, None], beta[:, :, None, None]
        return x * (scale * gamma) + (shift * gamma + beta)


class LIN(nn.Module):
    """Normalisation with gamma and beta of its own; rho starts at 0, which is layer normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        scale, shift = scale_and_shift(x, self.rho)
        return x * (scale * self.gamma) + (shift * self.gamma + self.beta)


def clamp_rho(model: nn.Module) -> None:
    """Bring every rho back into [0, 1], as has to be done after each step of the optimiser."""
    for module in model.modules():
        if isinstance(module, AdaLIN | LIN):
            module.rho.data.clamp_(0, 1)
