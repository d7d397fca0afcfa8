"""The face finder's maps, and what they mean in pixels."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the network definitions need torch (extra: export)")

import torch

from meetmid.networks.finder import CHANNELS, STRIDES, Finder, decode


def test_maps_have_the_strides_sizes_and_it_is_small() -> None:
    network = Finder().eval()
    maps = network(torch.zeros(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, CHANNELS, 64 // s, 96 // s) for s in STRIDES]
    assert sum(p.numel() for p in network.parameters()) * 2 < 400_000  # it is stored in fp16


def test_decoding_puts_cells_where_they_are() -> None:
    maps = tuple(torch.zeros(1, CHANNELS, 64 // s, 64 // s) for s in STRIDES)
    maps[1][0, :, 2, 1] = torch.tensor([3.0, 0.25, -0.5, 0.0, 0.6931472, *range(10)])
    scores, boxes, points = decode(maps)
    cell = 64 + 2 * 4 + 1
    assert scores[0].argmax() == cell
    centre = torch.tensor([(1.5 + 0.25) * 16, (2.5 - 0.5) * 16])
    assert torch.allclose(boxes[0, cell], torch.tensor([*(centre - torch.tensor([8.0, 16.0])), 16.0, 32.0]))
    wanted = centre + (16 * 32) ** 0.5 * torch.arange(10.0).reshape(5, 2) - 0.5
    assert torch.allclose(points[0, cell], wanted)
