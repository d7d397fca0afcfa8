"""CycleGAN's generator and PatchGAN discriminator, the base of PCFH (networks.md section 7.1).

Source: J.-Y. Zhu et al., "Unpaired image-to-image translation", ICCV 2017, appendix 7.2; P. Isola et al., CVPR 2017, for the
70 x 70 PatchGAN. Names follow the public state dicts (every convolution has a bias, normalisation no parameters).
"""

from __future__ import annotations

from torch import Tensor, nn

from meetmid.networks.blocks import InstanceResidual


def conv_layer(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    """Reflect-pad - conv - IN - ReLU for kernel 7, conv with zero padding - IN - ReLU for kernel 3."""
    reflect = kernel == 7
    conv = nn.Conv2d(inputs, outputs, kernel, stride, 0 if reflect else kernel // 2)
    pads = [nn.ReflectionPad2d(kernel // 2)] if reflect else []
    return [*pads, conv, nn.InstanceNorm2d(outputs), nn.ReLU()]


def deconv_layer(inputs: int, outputs: int) -> list[nn.Module]:
    """Transposed conv 3 x 3 of stride 2 - IN - ReLU: twice the size."""
    conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
    return [conv, nn.InstanceNorm2d(outputs), nn.ReLU()]


class ResNetGenerator(nn.Module):
    """(N, channels, H, W) in [-1, 1] to (N, 3, H, W) in (-1, 1); H and W are multiples of 4.

    With 9 residual blocks PCFH's global path and its G_B; the public 6-block generator is accepted too.
    """

    def __init__(self, blocks: int = 9, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *conv_layer(channels, width, 7, 1),
            *conv_layer(width, 2 * width, 3, 2),
            *conv_layer(2 * width, 4 * width, 3, 2),
            *(InstanceResidual(4 * width, bias=True) for _ in range(blocks)),
            *deconv_layer(4 * width, 2 * width),
            *deconv_layer(2 * width, width),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def features(self, x: Tensor) -> Tensor:
        """The last feature map, (N, width, H, W), not negative."""
        out: Tensor = self.model[:-3](x)
        return out

    def image(self, features: Tensor) -> Tensor:
        """(N, width, H, W) features to the picture."""
        out: Tensor = self.model[-3:](features)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        return self.image(self.features(x))


class PatchDiscriminator(nn.Module):
    """(N, channels, H, W) to a map of scores of 70 x 70 patches, 30 x 30 of them at 256 pixels."""

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for stride in (2, 2, 1):
            layers += [nn.Conv2d(width, 2 * width, 4, stride, 1), nn.InstanceNorm2d(2 * width), nn.LeakyReLU(0.2)]
            width *= 2
        self.model = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Score the patches."""
        out: Tensor = self.model(x)
        return out
