"""LightCNN-9, -29 and v4, PCFH's recogniser F (networks.md section 3.4).

Source: X. Wu et al., "A light CNN for deep face representation with noisy labels", TIFS 2018, section III and Tables I-III;
the later versions as published by its authors. Names follow their state dicts. Every network takes pictures of 128 x 128 in
[0, 1] (grey; v4: BGR) and returns (N, 256), not normalised.

``widths`` are the channels of the four stages. ``classes`` adds the training head ``fc2``, which only ``classify`` uses.
"""

from __future__ import annotations

from torch import Tensor, maximum, nn
from torch.nn import functional

WIDTHS = (48, 96, 192, 128)
REPETITIONS = (1, 2, 3, 4)
LENGTH = 256


def max_feature_map(x: Tensor) -> Tensor:
    """(N, 2C, ...) to (N, C, ...): the larger of the two halves of the channels (Wu et al. 2018, section III-A)."""
    first, second = x.chunk(2, dim=1)
    return maximum(first, second)


class MFM(nn.Module):
    """Convolution, size kept, then max-feature-map: (N, inputs, H, W) to (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.filter = nn.Conv2d(inputs, 2 * outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Filter and compete."""
        return max_feature_map(self.filter(x))


class MFMLinear(nn.Module):
    """Linear layer, then max-feature-map: (N, inputs) to (N, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.filter = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Filter and compete."""
        return max_feature_map(self.filter(x))


class Group(nn.Module):
    """A 1 x 1 MFM ("network in network") and a 3 x 3 MFM: (N, inputs, H, W) to (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_a = MFM(inputs, inputs, 1)
        self.conv = MFM(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Mix, then filter."""
        out: Tensor = self.conv(self.conv_a(x))
        return out


class Residual(nn.Module):
    """x plus two 3 x 3 MFMs of it, without normalisation: (N, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = MFM(channels, channels)
        self.conv2 = MFM(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual."""
        out: Tensor = x + self.conv2(self.conv1(x))
        return out


class MaxPlusAverage(nn.Module):
    """Max-pooling plus average-pooling by 2: (N, C, H, W) to (N, C, H / 2, W / 2)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        return functional.max_pool2d(x, 2) + functional.avg_pool2d(x, 2)


def _residuals(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels) for _ in range(count)))


def _classify(head: nn.Module, embedding: Tensor, training: bool) -> Tensor:
    out: Tensor = head(functional.dropout(embedding, 0.5, training))
    return out


class LightCNN9(nn.Module):
    """LightCNN-9: (N, 1, 128, 128) to (N, 256)."""

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS, classes: int | None = None) -> None:
        super().__init__()
        first, second, third, last = widths
        self.features = nn.Sequential(
            MFM(1, first, 5),
            nn.MaxPool2d(2),
            Group(first, second),
            nn.MaxPool2d(2),
            Group(second, third),
            nn.MaxPool2d(2),
            Group(third, last),
            Group(last, last),
            nn.MaxPool2d(2),
        )
        self.fc1 = MFMLinear(8 * 8 * last, LENGTH)
        if classes is not None:
            self.fc2 = nn.Linear(LENGTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of a batch."""
        out: Tensor = self.fc1(self.features(x).flatten(1))
        return out

    def classify(self, embedding: Tensor) -> Tensor:
        """(N, 256) to (N, classes) logits, for training."""
        return _classify(self.fc2, embedding, self.training)


class LightCNN29(nn.Module):
    """LightCNN-29: (N, 1, 128, 128) to (N, 256).

    Version 1 pools by the maximum and ends with a competing linear layer; version 2 adds the average to every pool and ends
    with a plain linear layer, and its head has no bias.
    """

    def __init__(
        self, version: int = 2, widths: tuple[int, int, int, int] = WIDTHS, classes: int | None = None
    ) -> None:
        super().__init__()
        if version not in (1, 2):
            raise ValueError(f"LightCNN-29 version must be 1 or 2, got {version}")
        first, second, third, last = widths
        self.pool = nn.MaxPool2d(2) if version == 1 else MaxPlusAverage()
        self.conv1 = MFM(1, first, 5)
        self.block1, self.group1 = _residuals(first, REPETITIONS[0]), Group(first, second)
        self.block2, self.group2 = _residuals(second, REPETITIONS[1]), Group(second, third)
        self.block3, self.group3 = _residuals(third, REPETITIONS[2]), Group(third, last)
        self.block4, self.group4 = _residuals(last, REPETITIONS[3]), Group(last, last)
        inputs = 8 * 8 * last
        self.fc = MFMLinear(inputs, LENGTH) if version == 1 else nn.Linear(inputs, LENGTH)
        if classes is not None:
            self.fc2 = nn.Linear(LENGTH, classes, bias=version == 1)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of a batch."""
        x = self.pool(self.conv1(x))
        x = self.pool(self.group1(self.block1(x)))
        x = self.pool(self.group2(self.block2(x)))
        x = self.group3(self.block3(x))
        x = self.pool(self.group4(self.block4(x)))
        out: Tensor = self.fc(x.flatten(1))
        return out

    def classify(self, embedding: Tensor) -> Tensor:
        """(N, 256) to (N, classes) logits, for training."""
        return _classify(self.fc2, embedding, self.training)


class LightCNNV4(nn.Module):
    """LightCNN v4: (N, 3, 128, 128) BGR to (N, 256); published without a head, a 3 x 3 stem and no 1 x 1 groups."""

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        first, second, third, last = widths
        self.pool = MaxPlusAverage()
        self.conv1, self.block1 = MFM(3, first), _residuals(first, REPETITIONS[0])
        self.conv2, self.block2 = MFM(first, second), _residuals(second, REPETITIONS[1])
        self.conv3, self.block3 = MFM(second, third), _residuals(third, REPETITIONS[2])
        self.conv4, self.block4 = MFM(third, last), _residuals(last, REPETITIONS[3])
        self.conv5 = MFM(last, last)
        self.fc = nn.Linear(8 * 8 * last, LENGTH)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of a batch."""
        x = self.block1(self.pool(self.conv1(x)))
        x = self.block2(self.pool(self.conv2(x)))
        x = self.block3(self.pool(self.conv3(x)))
        x = self.pool(self.conv5(self.block4(self.conv4(x))))
        out: Tensor = self.fc(x.flatten(1))
        return out
