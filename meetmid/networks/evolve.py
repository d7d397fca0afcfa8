"""The IR and IR-SE networks of face.evoLVe, one of which teaches RIM (networks.md sections 3.2 and 8.3).

Source: J. Deng et al., "ArcFace", CVPR 2019, section 3.2.1, as face.evoLVe lays it out: no normalisation between the first
convolution and its PReLU, and strided subsampling as the shortcut where the channels stay. Names follow its state dicts.
"""

from __future__ import annotations

from torch import Tensor, nn

from meetmid.networks.blocks import SqueezeExcite

DEPTHS = {50: (3, 4, 14, 3), 101: (3, 13, 30, 3), 152: (3, 8, 36, 3)}
"""Units per stage of each published depth."""


class IRUnit(nn.Module):
    """BN - conv3x3 - PReLU - conv3x3(stride) - BN (- SE of reduction 16), plus the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze_excite: bool) -> None:
        super().__init__()
        self.shortcut_layer = nn.MaxPool2d(1, stride) if inputs == outputs else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )
        layers = [
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if squeeze_excite:
            layers.append(SqueezeExcite(outputs, bias=False))
        self.res_layer = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class EvolveIR(nn.Module):
    """(N, 3, size, size) RGB in [-1, 1] to (N, length) templates, not normalised; ``size`` is 112 or 224.

    ``units`` and ``widths`` per stage; every stage starts with a stride of 2.
    """

    def __init__(
        self,
        units: tuple[int, ...] = DEPTHS[50],
        widths: tuple[int, ...] = (64, 128, 256, 512),
        size: int = 112,
        squeeze_excite: bool = False,
        length: int = 512,
    ) -> None:
        super().__init__()
        if size not in (112, 224):
            raise ValueError(f"face.evoLVe input size must be 112 or 224, got {size}")
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        self.body = nn.Sequential(*(
            IRUnit(width if k else before, width, 1 if k else 2, squeeze_excite)
            for before, width, count in zip((widths[0], *widths), widths, units, strict=False)
            for k in range(count)
        ))
        self.stage_ends = [sum(units[: k + 1]) for k in range(len(units))]
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(widths[-1] * (size // 16) ** 2, length),
            nn.BatchNorm1d(length),
        )

    def stages(self, x: Tensor) -> list[Tensor]:
        """The map after each stage; at 112 (N, 64, 56, 56), (N, 128, 28, 28), (N, 256, 14, 14), (N, 512, 7, 7)."""
        x = self.input_layer(x)
        maps = []
        for start, end in zip([0, *self.stage_ends], self.stage_ends, strict=False):
            x = self.body[start:end](x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Templates of a batch."""
        out: Tensor = self.output_layer(self.stages(x)[-1])
        return out


def evolve(depth: int, *, size: int = 112, squeeze_excite: bool = False) -> EvolveIR:
    """The published IR-50, IR-101 or IR-152 (``squeeze_excite``: IR-SE) for pictures of 112 or 224 pixels."""
    if depth not in DEPTHS:
        raise ValueError(f"face.evoLVe depth must be one of {', '.join(map(str, DEPTHS))}, got {depth}")
    return EvolveIR(DEPTHS[depth], size=size, squeeze_excite=squeeze_excite)
