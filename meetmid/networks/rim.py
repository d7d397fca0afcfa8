"""RIM's face hallucination sub-net, FHN, and the domain discriminator it is trained against (networks.md section 8.2).

The tri-path generator of RIM ("Resolution Invariant Model"): a coarse super-resolver, then a global feature, landmark and
parsing priors of the coarse picture, and a decoder that integrates them; FSRNet (Y. Chen et al., CVPR 2018, section 3) is its
declared pattern. The paper gives no layers: they are those of the public "v1" code, made consistent, whose names are kept. v1
calls each group of residual blocks three times (``passes`` = 3) and shares some layers; :func:`from_v1` turns its state dicts
into this module's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """PReLU(x + IN(conv(PReLU(IN(conv(x)))))), affine IN: (N, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.in1 = nn.InstanceNorm2d(channels, affine=True)
        self.relu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.in2 = nn.InstanceNorm2d(channels, affine=True)
        self.relu_out = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual."""
        out: Tensor = self.relu_out(x + self.in2(self.conv2(self.relu(self.in1(self.conv1(x))))))
        return out


def _residuals(channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(3)))


def _repeat(group: nn.Module, x: Tensor, passes: int) -> Tensor:
    for _ in range(passes):
        x = group(x)
    return x


class CoarseNet(nn.Module):
    """G_c: (N, 3, H, W) enlarged low-resolution face to the coarse picture of the same shape."""

    def __init__(self, width: int, passes: int) -> None:
        super().__init__()
        self.passes = passes
        self.conv_input = nn.Conv2d(3, width, 3, padding=1)
        self.bn_mid = nn.InstanceNorm2d(width, affine=True)
        self.relu = nn.PReLU(width)
        self.residual = _residuals(width)
        self.conv_mid = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Super-resolve coarsely; the two normalisations are one."""
        x = self.relu(self.bn_mid(self.conv_input(x)))
        out: Tensor = self.conv_mid(self.bn_mid(_repeat(self.residual, x, self.passes)))
        return out


class GlobalEncoder(nn.Module):
    """G_f: (N, 3, H, W) coarse picture to the global feature (N, width, H / 4, W / 4)."""

    def __init__(self, width: int, passes: int) -> None:
        super().__init__()
        self.passes = passes
        self.conv_input = nn.Conv2d(3, width, 7, 4, 3)
        self.bn_mid = nn.InstanceNorm2d(width, affine=True)
        self.relu = nn.PReLU(width)
        self.residual = _residuals(width)
        self.conv_end = nn.Conv2d(width, width, 3, padding=1)
        self.bn_out = nn.InstanceNorm2d(width, affine=True)
        self.relu_out = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        """Encode."""
        x = _repeat(self.residual, self.relu(self.bn_mid(self.conv_input(x))), self.passes)
        out: Tensor = self.relu_out(self.bn_out(self.conv_end(x)))
        return out


class HourglassBlock(nn.Module):
    """PReLU(x + IN(conv(PReLU(IN(conv(x)))))), IN without parameters and one PReLU for both places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(channels)
        self.relu = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        out: Tensor = self.relu(x + self.norm(self.conv2(self.relu(self.norm(self.conv1(x))))))
        return out


class Hourglass(nn.Module):
    """The hourglass of A. Newell et al., ECCV 2016, section 3.1: (N, C, H, W) to the same shape; H, W multiples of 2^depth.

    ``hg[n]`` holds the branches of the n-th level from the inside: kept, before, after, and for n = 0 the innermost one.
    """

    def __init__(self, channels: int, depth: int = 2) -> None:
        super().__init__()
        self.hg = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(HourglassBlock(channels), HourglassBlock(channels)) for _ in range(3 if level else 4)
            )
            for level in range(depth)
        )

    def _level(self, x: Tensor, level: int) -> Tensor:
        branches = self.hg[level]
        low = branches[1](functional.max_pool2d(x, 2))
        low = self._level(low, level - 1) if level else branches[3](low)
        up = functional.interpolate(branches[2](low), scale_factor=2.0, mode="nearest")
        out: Tensor = branches[0](x) + up
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Down and up again."""
        return self._level(x, len(self.hg) - 1)


class PriorTrunk(nn.Module):
    """(N, 3, H, W) coarse picture to prior features (N, channels, H / 4, W / 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 7, 4, 3)
        self.bn = nn.InstanceNorm2d(channels, affine=True)
        self.relu = nn.PReLU(channels)
        self.residual = _residuals(channels)
        self.hg = Hourglass(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Describe the face."""
        out: Tensor = self.hg(self.residual(self.relu(self.bn(self.conv(x)))))
        return out


class SharedPriors(PriorTrunk):
    """G_l and G_p on one trunk: coarse picture to (features, landmark maps, parsing maps)."""

    def __init__(self, channels: int, landmarks: int, parts: int) -> None:
        super().__init__(channels)
        self.features = channels
        self.fc_landmark = nn.Conv2d(channels, landmarks, 1)
        self.fc = nn.Conv2d(channels, parts, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Estimate the priors."""
        features = super().forward(x)
        return features, self.fc_landmark(features), self.fc(features)


class SeparatePriors(nn.Module):
    """G_l and G_p as two paths, as RIM describes them: coarse picture to (features of both, landmark maps, parsing maps)."""

    def __init__(self, channels: int, landmarks: int, parts: int) -> None:
        super().__init__()
        self.features = 2 * channels
        self.landmark_trunk, self.parsing_trunk = PriorTrunk(channels), PriorTrunk(channels)
        self.fc_landmark = nn.Conv2d(channels, landmarks, 1)
        self.fc = nn.Conv2d(channels, parts, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Estimate the priors."""
        shape, parsing = self.landmark_trunk(x), self.parsing_trunk(x)
        return torch.cat([shape, parsing], 1), self.fc_landmark(shape), self.fc(parsing)


class Decoder(nn.Module):
    """D_theta_i, the feature integrator: (N, inputs, H / 4, W / 4) to the picture (N, 3, H, W)."""

    def __init__(self, inputs: int, width: int, passes: int) -> None:
        super().__init__()
        self.passes = passes
        self.conv_input = nn.Conv2d(inputs, width, 3, padding=1)
        self.bn_mid = nn.InstanceNorm2d(width, affine=True)
        self.relu = nn.PReLU(width)
        self.deconv = nn.ConvTranspose2d(width, width, 7, 4, 2, output_padding=1)
        self.bn_out = nn.InstanceNorm2d(width, affine=True)
        self.relu_out = nn.PReLU(width)
        self.residual = _residuals(width)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Decode; the last two normalisations are one."""
        x = self.relu(self.bn_mid(self.conv_input(x)))
        x = _repeat(self.residual, self.relu_out(self.bn_out(self.deconv(x))), self.passes)
        out: Tensor = self.conv_out(self.bn_out(x))
        return out


class FHN(nn.Module):
    """(N, 3, 224, 224) low-resolution face in [-1, 1], enlarged bicubically by 8, to (sr, coarse, landmarks, parsing).

    ``sr`` and ``coarse`` are (N, 3, 224, 224) RGB, meant for [-1, 1] but not clipped; ``landmarks`` (N, landmarks, 56, 56)
    and ``parsing`` (N, 11, 56, 56) are raw maps. Other sizes are multiples of 16. ``separate_priors`` gives landmarks and
    parsing a path each; ``passes`` repeats each group of residual blocks with the same weights.
    """

    def __init__(
        self, landmarks: int = 194, parts: int = 11, *, separate_priors: bool = False, passes: int = 1, width: int = 64
    ) -> None:
        super().__init__()
        priors = SeparatePriors if separate_priors else SharedPriors
        self._coarse_sr_network = CoarseNet(width, passes)
        self._fine_sr_encoder = GlobalEncoder(width, passes)
        self._prior_estimation_network = priors(2 * width, landmarks, parts)
        self.features = self._prior_estimation_network.features + width
        self._fine_sr_decoder = Decoder(self.features, width, passes)

    def describe(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (N, features, H / 4, W / 4), landmark and parsing maps of a coarse or, in training, a true picture."""
        priors, landmarks, parsing = self._prior_estimation_network(picture)
        return torch.cat([priors, self._fine_sr_encoder(picture)], 1), landmarks, parsing

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Hallucinate a batch."""
        coarse = self._coarse_sr_network(x)
        features, landmarks, parsing = self.describe(coarse)
        return self._fine_sr_decoder(features), coarse, landmarks, parsing


def from_v1(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A public v1 state dict for ``FHN(landmarks=97, passes=3)``.

    The layers that v1 defines and never calls, and its discriminator, are dropped; the normalisations and slopes that v1
    calls twice are copied to both places.
    """
    unused = (
        "_coarse_sr_network.bn_end.",
        "_fine_sr_encoder.conv_mid.",
        "_fine_sr_encoder.bn_end.",
        "_prior_estimation_network.residual_next.",
        "_fine_sr_decoder.instance_norm.",
        "_discriminator.",
    )
    kept = {key: value for key, value in state.items() if not key.startswith(unused)}
    for part in ("_fine_sr_encoder", "_fine_sr_decoder"):
        for name in ("weight", "bias"):
            kept[f"{part}.bn_out.{name}"] = kept[f"{part}.bn_mid.{name}"]
        kept[f"{part}.relu_out.weight"] = kept[f"{part}.relu.weight"]
    return kept


class DomainDiscriminator(nn.Module):
    """D_theta_d: features (N, features, 56, 56) of :meth:`FHN.describe` to an embedding (N, 512), compared by MMD."""

    def __init__(self, features: int = 192, width: int = 64, size: int = 56, length: int = 512) -> None:
        super().__init__()
        self.conv_input = nn.Conv2d(features, width, 3, padding=1)
        self.bn_mid = nn.BatchNorm2d(width)
        self.relu = nn.PReLU(width)
        self.fc = nn.Linear(width * size * size, length)
        self.bn_end = nn.BatchNorm1d(length)

    def forward(self, x: Tensor) -> Tensor:
        """Embed the features of a domain."""
        out: Tensor = self.bn_end(self.fc(self.relu(self.bn_mid(self.conv_input(x))).flatten(1)))
        return out
