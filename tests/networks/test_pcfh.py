"""PCFH: sizes, cropping and pasting, the max-out, and the warp against a slow loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the definitions need torch (extra: export)")

from meetmid.networks.pcfh import (  # noqa: E402
    PATCHES,
    LocalPath,
    PCFHGenerator,
    crop,
    max_out,
    paste,
    selection,
)
from meetmid.networks.pcfh_training import AttentionMap, InformationCritic, displacement, warp  # noqa: E402

CENTRES = torch.tensor([[[50.0, 60.0], [94.0, 60.0], [72.0, 84.0], [72.0, 110.0]]])


def small(fuse: str = "max") -> PCFHGenerator:
    return PCFHGenerator(144, fuse, width=4, blocks=1)


def test_sizes_are_those_measured(count: Callable[..., int]) -> None:
    assert count(LocalPath) == 749_187
    assert count(PCFHGenerator) == 11_378_179 + 4 * 749_187
    assert count(lambda: PCFHGenerator(fuse="concat")) == 11_378_179 + 4 * 749_187 + 128 * 64 * 9 + 64


@pytest.mark.parametrize("size", [144, 256])
def test_local_paths_keep_the_patch_sizes(size: int) -> None:
    for height, width in PATCHES[size]:
        features, picture = LocalPath(width=2)(torch.zeros(1, 3, height, width))
        assert features.shape == (1, 2, height, width)
        assert picture.shape == (1, 3, height, width)
    with pytest.raises(ValueError, match="144 or 256, got 128"):
        PCFHGenerator(128)


def test_crop_and_paste_are_slices() -> None:
    x = torch.randn(2, 3, 20, 24)
    rows = selection(torch.tensor([7.0, 11.0]), 6, 20)
    columns = selection(torch.tensor([5.0, 12.0]), 8, 24)
    for n, (top, left) in enumerate(((4, 1), (8, 8))):
        patch = crop(x, rows, columns)[n]
        assert torch.equal(patch, x[n, :, top : top + 6, left : left + 8])
        canvas = torch.zeros(3, 20, 24)
        canvas[:, top : top + 6, left : left + 8] = patch
        assert torch.equal(paste(crop(x, rows, columns), rows, columns)[n], canvas)


def test_a_box_over_the_edge_is_filled_with_zeros() -> None:
    x = torch.rand(1, 1, 8, 8) + 1
    rows, columns = selection(torch.tensor([1.0]), 4, 8), selection(torch.tensor([8.0]), 4, 8)
    patch = crop(x, rows, columns)[0, 0]
    assert torch.equal(patch[1:, :2], x[0, 0, :3, 6:])
    assert patch[:1].abs().sum() == patch[:, 2:].abs().sum() == 0


def test_max_out_is_the_maximum_of_numpy() -> None:
    maps = [torch.randn(2, 3, 4, 5) for _ in range(4)]
    assert np.array_equal(max_out(maps).numpy(), np.max([m.numpy() for m in maps], axis=0))


def test_the_picture_is_made_from_the_maximum_of_local_and_global_features() -> None:
    model, x = small(), torch.randn(1, 3, 144, 144)
    fused = model.global_path.features(x).detach().numpy().copy()
    for k, (height, width) in enumerate(PATCHES[144]):
        left, top = (CENTRES[0, k] - torch.tensor([width / 2, height / 2])).int().tolist()
        box = (0, slice(None), slice(top, top + height), slice(left, left + width))
        features, picture = model.local_paths[k](x[:, :, top : top + height, left : left + width])
        fused[box] = np.maximum(fused[box], features[0].detach().numpy())
        assert torch.allclose(model.translate(x, model.boxes(CENTRES))[1][k], picture, atol=1e-5)
    assert torch.allclose(model(x, CENTRES), model.global_path.image(torch.from_numpy(fused)), atol=1e-5)


def test_without_landmarks_only_the_global_path_runs() -> None:
    model, x = small(), torch.randn(1, 3, 144, 144)
    assert torch.equal(model(x), model.global_path(x))
    assert not torch.equal(model(x, CENTRES), model(x))


def test_every_parameter_takes_part(unused: Callable[..., list[str]]) -> None:
    x = torch.randn(1, 3, 144, 144)
    pictures = {f"local_paths.{k}.image.0.{name}" for k in range(4) for name in ("weight", "bias")}
    assert set(unused(small(), x, CENTRES)) == set(unused(small("concat"), x, CENTRES)) == pictures


def test_results_are_steady(steady: Callable[..., None]) -> None:
    steady(small("concat"), torch.randn(2, 3, 144, 144), CENTRES + torch.tensor([[[0.0]], [[3.0]]]))


@pytest.mark.parametrize("fuse", ["max", "concat"])
def test_export_agrees(fuse: str, parity: Callable[..., float]) -> None:
    centres = CENTRES + torch.tensor([[[0.0]], [[5.0]]])
    assert parity(small(fuse), torch.rand(2, 3, 144, 144), centres) < 1e-4


def slow_displacement(points: np.ndarray, targets: np.ndarray, height: int, width: int, power: float) -> np.ndarray:
    out = np.zeros((height, width, 2))
    for y, x in np.ndindex(height, width):
        distances = [np.hypot(x - px, y - py) for px, py in points]
        exact = [i for i, d in enumerate(distances) if d == 0]
        if exact:
            out[y, x] = targets[exact[0]] - points[exact[0]]
            continue
        weights = np.array([d**-power for d in distances])
        out[y, x] = (weights[:, None] * (targets - points)).sum(0) / weights.sum()
    return out


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_displacements_are_those_of_the_slow_loop(power: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 12, (2, 7, 2))
    points[:, 0] = [3, 5]  # a pixel hits this one exactly
    targets = points + rng.normal(0, 2, points.shape)
    got = displacement(torch.from_numpy(points), torch.from_numpy(targets), 10, 12, power).numpy()
    for n in range(2):
        assert np.abs(got[n] - slow_displacement(points[n], targets[n], 10, 12, power)).max() < 1e-10
    assert np.allclose(got[0, 5, 3], targets[0, 0] - points[0, 0])


def test_the_warp_reads_the_visible_picture_at_the_displaced_pixel() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(3, 12, (1, 5, 2))
    targets = points + rng.uniform(-2, 2, points.shape)
    picture = rng.normal(size=(1, 2, 16, 18))
    got = warp(*(torch.from_numpy(a) for a in (picture, points, targets))).numpy()
    offsets = slow_displacement(points[0], targets[0], 16, 18, 2.0)
    for y, x in np.ndindex(16, 18):
        px, py = np.clip(np.array([x, y]) + offsets[y, x], 0, [17, 15])
        x0, y0 = min(int(px), 16), min(int(py), 14)
        fx, fy = px - x0, py - y0
        corners = picture[0, :, y0 : y0 + 2, x0 : x0 + 2]
        expected = corners @ [1 - fx, fx] @ [1 - fy, fy]
        assert np.allclose(got[0, :, y, x], expected, atol=1e-9)


def test_equal_landmarks_warp_nothing_and_a_common_shift_shifts() -> None:
    points, x = torch.rand(1, 68, 2) * 20, torch.randn(1, 3, 20, 20)
    assert torch.allclose(warp(x, points, points), x, atol=1e-5)
    assert torch.allclose(warp(x, points, points + torch.tensor([2.0, 1.0]))[:, :, :-1, :-2], x[:, :, 1:, 2:], atol=1e-4)


def test_attention_is_a_map_between_zero_and_one() -> None:
    attention = AttentionMap(6, 4)(torch.randn(2, 6, 9, 8))
    assert attention.shape == (2, 1, 9, 8)
    assert 0 < attention.min() < attention.max() < 1


def test_the_critic_gives_one_score_per_pair() -> None:
    critic, a, b = InformationCritic(width=4), torch.randn(3, 3, 32, 32), torch.randn(3, 3, 32, 32)
    scores = critic(a, b)
    assert scores.shape == (3,)
    assert torch.allclose(critic(a[1:2], b[1:2]), scores[1:2], atol=1e-6)
    assert not torch.allclose(critic(a, b.roll(1, 0)), scores, atol=1e-6)
