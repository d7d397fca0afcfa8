"""RIM's heterogeneous recognition sub-net, HRN: a student corrected by an assistant (networks.md section 8.3).

The teacher is :func:`meetmid.networks.evolve.evolve`'s IR-50; student and assistant are ResNet-34 (K. He et al., CVPR 2016,
Table 1) without the max-pooling, so that their four stages match the teacher's shapes. Names follow the public "v1" code.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """ReLU(shortcut + BN(conv(ReLU(BN(conv(stride)(x)))))) (He et al. 2016, Fig. 5 left)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.downsample = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        residual = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(residual + self.downsample(x))


class ResNet34(nn.Module):
    """Student or assistant: (N, 3, 112, 112) RGB in [-1, 1] to (N, length), not normalised."""

    def __init__(
        self, blocks: tuple[int, ...] = (3, 4, 6, 3), widths: tuple[int, ...] = (64, 128, 256, 512), length: int = 512
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(*(BasicBlock(width if k else before, width, 1 if k or not stage else 2) for k in range(count)))
            for stage, (before, width, count) in enumerate(zip((widths[0], *widths), widths, blocks, strict=False))
        )
        self.bn_o1 = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1] * 7 * 7, length)
        self.bn_o2 = nn.BatchNorm1d(length)

    def stages(self, x: Tensor) -> list[Tensor]:
        """The map after each stage: (N, 64, 56, 56), (N, 128, 28, 28), (N, 256, 14, 14), (N, 512, 7, 7)."""
        maps = [self.layer1(torch.relu(self.bn1(self.conv1(x))))]
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps

    def head(self, last: Tensor) -> Tensor:
        """The last map to the embedding."""
        out: Tensor = self.bn_o2(self.fc(self.bn_o1(last).flatten(1)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of a batch."""
        return self.head(self.stages(x)[-1])


class HRN(nn.Module):
    """f_S = f_S^K + f_A^K: (N, 3, 112, 112) hallucinated probes in [-1, 1] to templates (N, length), to compare by cosine.

    ``sum_at`` "embedding" adds the two networks' embeddings, "map" their last maps, which then pass the student's head. The
    gallery's templates are the teacher's.
    """

    def __init__(
        self, student: ResNet34 | None = None, assistant: ResNet34 | None = None,
        sum_at: Literal["embedding", "map"] = "embedding",
    ) -> None:
        super().__init__()
        self.student, self.assistant, self.sum_at = student or ResNet34(), assistant or ResNet34(), sum_at

    def forward(self, x: Tensor) -> Tensor:
        """Templates of a batch."""
        if self.sum_at == "map":
            return self.student.head(self.student.stages(x)[-1] + self.assistant.stages(x)[-1])
        out: Tensor = self.student(x) + self.assistant(x)
        return out
