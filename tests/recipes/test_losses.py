"""Every loss against a slow reference, and its gradient where the paper asks for one or forbids it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

import torch
from meetmid.models.recipes import domain_losses, losses

RNG = np.random.default_rng(0)


def values(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def of(array: np.ndarray):
    return torch.from_numpy(array)


def test_reductions() -> None:
    a, b = values(2, 3, 4, 5), values(2, 3, 4, 5)
    assert losses.l1(of(a), of(b)).item() == pytest.approx(np.abs(a - b).mean())
    assert losses.l1(of(a), of(b), "sum").item() == pytest.approx(np.abs(a - b).sum() / 2)
    assert losses.l2(of(a), of(b)).item() == pytest.approx(((a - b) ** 2).mean())
    assert losses.l2(of(a), of(b), "sum").item() == pytest.approx(((a - b) ** 2).sum() / 2)
    assert losses.template_distance(of(a[:, 0, 0]), of(b[:, 0, 0])).item() == pytest.approx(
        np.abs(a - b)[:, 0, 0].sum() / 2
    )


def test_lsgan_targets_are_one_and_zero() -> None:
    first, second = values(2, 1, 3, 3), values(2, 1, 5, 5)
    both = [of(first), of(second)]
    assert losses.lsgan(both, real=True).item() == pytest.approx(((first - 1) ** 2).mean() + ((second - 1) ** 2).mean())
    assert losses.lsgan(of(first), real=False).item() == pytest.approx((first**2).mean())


def test_wgan_and_its_penalty() -> None:
    real, fake, mix = values(3, 2, 4, 4), values(3, 2, 4, 4), RNG.uniform(size=(3, 1, 1, 1))
    assert losses.wgan_critic(of(real), of(fake)).item() == pytest.approx(fake.mean() - real.mean())
    assert losses.wgan_generator(of(fake)).item() == pytest.approx(-fake.mean())
    # D(x) = mean of x^2 / 2 has the gradient x / size
    penalty = losses.gradient_penalty(lambda x: (x**2).flatten(1).mean(1) / 2, of(real), of(fake), of(mix))
    point = mix * real + (1 - mix) * fake
    norms = np.sqrt(((point / 32) ** 2).reshape(3, -1).sum(1))
    assert penalty.item() == pytest.approx(((norms - 1) ** 2).mean())


def test_perceptual_loss_reads_the_named_layers_of_a_frozen_network() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(2, 1, 1))
    loss = losses.FeatureLoss(losses.layer_features(network, ["2", "1"]), (0.5, 2.0))
    x, y = torch.rand(2, 3, 4, 4) * 2 - 1, torch.rand(2, 3, 4, 4) * 2 - 1
    x.requires_grad_()

    def maps(picture: np.ndarray) -> list[np.ndarray]:
        unit = (picture + 1) / 2
        scaled = (unit - np.reshape(losses.IMAGENET_MEAN, (3, 1, 1))) / np.reshape(losses.IMAGENET_STD, (3, 1, 1))
        w1, b1, w2, b2 = (p.detach().numpy() for p in network.parameters())
        hidden = np.maximum(np.einsum("oi,nihw->nohw", w1[..., 0, 0], scaled) + b1[:, None, None], 0)
        return [np.einsum("oi,nihw->nohw", w2[..., 0, 0], hidden) + b2[:, None, None], hidden]

    wanted = sum(
        w * np.abs(a - b).mean() for w, a, b in zip((0.5, 2.0), maps(x.detach().numpy()), maps(y.numpy()), strict=True)
    )
    value = loss(x, y)
    assert value.item() == pytest.approx(wanted, rel=1e-5)
    value.backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())
    with pytest.raises(ValueError, match="no layers nose"):
        losses.layer_features(network, ["nose"])


def test_identity_and_attributes() -> None:
    a, b = values(3, 6), values(3, 6)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert losses.cosine_distance(of(a), of(b)).item() == pytest.approx((1 - cosine).mean())
    scorers = {"age": lambda x: x.sum(1), "gender": lambda x: x[:, 0] * 2}
    wanted = np.abs(a.sum(1) - b.sum(1)).mean() + 2 * np.abs(a[:, 0] - b[:, 0]).mean()
    assert losses.attributes(scorers, of(a), of(b)).item() == pytest.approx(wanted)
    assert losses.attributes({}, of(a), of(b)).item() == 0


def test_resizing_passes_gradients() -> None:
    x = torch.rand(1, 3, 20, 20, requires_grad=True)
    losses.resized(x, (7, 7)).sum().backward()
    assert (x.grad > 0).float().mean() > 0.9
    assert losses.resized(x, (20, 20)) is x


def test_class_activation_losses() -> None:
    source, target = values(4, 2), values(4, 2)

    def eta(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    wanted = -(np.log(eta(source)).mean() + np.log(1 - eta(target)).mean())
    assert losses.cam_generator(of(source), of(target)).item() == pytest.approx(wanted)
    assert torch.isfinite(losses.cam_generator(torch.tensor([[-200.0]]), torch.tensor([[200.0]])))


def test_luminance() -> None:
    a, b = values(2, 3, 4, 4), values(2, 3, 4, 4)
    y = [0.299 * p[:, 0] + 0.587 * p[:, 1] + 0.114 * p[:, 2] for p in (a, b)]
    assert losses.luminance_loss(of(a), of(b)).item() == pytest.approx(np.abs(y[0] - y[1]).mean())


def test_attention_warping() -> None:
    attention, generated, warped = RNG.uniform(size=(2, 1, 5, 6)), values(2, 3, 5, 6), values(2, 3, 5, 6)
    singular = sum(np.linalg.svd(m[0], compute_uv=False).sum() for m in attention) / 2
    wanted = 3 * np.abs(attention * generated - warped).sum() / 2 + 0.003 * singular + 1e-6 * attention.sum() / 2
    maps = of(attention).requires_grad_()
    assert domain_losses.attention_loss(maps, of(generated), of(warped)).item() == pytest.approx(wanted)
    value = domain_losses.attention_warping(maps, of(generated), of(warped))
    assert value.item() == pytest.approx(np.abs(attention * (generated - warped)).sum() / 2)
    assert not value.requires_grad


def test_information_is_joint_minus_product() -> None:
    a, b, c = values(3, 4), values(3, 4), values(3, 4)

    def critic(x, y):
        return (x * y).sum(1)

    def slow(x: np.ndarray, y: np.ndarray) -> float:
        return np.mean([x[i] @ y[i] for i in range(3)]) - np.mean([x[i] @ y[(i - 1) % 3] for i in range(3)])

    assert domain_losses.information(critic, of(a), of(b)).item() == pytest.approx(slow(a, b))
    value = domain_losses.information_loss(critic, of(a), of(b), of(c))
    assert value.item() == pytest.approx(slow(a, b) - slow(a, c))
    assert domain_losses.information_loss(critic, of(a), of(b), of(c), "printed").item() == pytest.approx(-value.item())
    with pytest.raises(ValueError, match="batch of at least 2, got 1"):
        domain_losses.information(critic, of(a[:1]), of(b[:1]))


def test_mmd_against_the_double_sum() -> None:
    a, b = values(4, 3), values(5, 3) + 0.5
    both = np.concatenate([a, b])
    squared = [((x - y) ** 2).sum() for i, x in enumerate(both) for j, y in enumerate(both) if i != j]
    median = sorted(squared)[(len(squared) - 1) // 2]

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return np.mean([np.exp(-((x - y) ** 2).sum() / (2 * median * s)) for s in (0.25, 0.5, 1, 2, 4)])

    def mean(first: np.ndarray, second: np.ndarray) -> float:
        return np.mean([kernel(x, y) for x in first for y in second])

    wanted = mean(a, a) - 2 * mean(a, b) + mean(b, b)
    assert domain_losses.mk_mmd(of(a), of(b)).item() == pytest.approx(wanted)
    assert domain_losses.mk_mmd(of(a), of(a)).item() == pytest.approx(0, abs=1e-12)


def test_heat_maps_and_priors() -> None:
    points = np.array([[[10.0, 31.0], [0.0, 0.0]]])
    maps = domain_losses.heat_maps(of(points), size=64, grid=16, sigma=1.5).numpy()
    for k, (x, y) in enumerate(points[0]):
        cx, cy = (x + 0.5) / 4 - 0.5, (y + 0.5) / 4 - 0.5
        slow = [[np.exp(-((i - cx) ** 2 + (j - cy) ** 2) / 4.5) for i in range(16)] for j in range(16)]
        assert np.allclose(maps[0, k], slow)
    a, b = values(2, 3, 4, 4), values(2, 3, 4, 4)
    assert domain_losses.landmark_loss(of(a), of(b)).item() == pytest.approx(((a - b) ** 2).sum() / 2 / 3)
    labels = RNG.integers(0, 3, (2, 4, 4))
    logs = a - np.log(np.exp(a).sum(1, keepdims=True))
    wanted = -np.take_along_axis(logs, labels[:, None], 1).mean()
    assert domain_losses.parsing_loss(of(a), of(labels)).item() == pytest.approx(wanted)
    assert domain_losses.parsing_loss(of(a), of(labels), per_class=True).item() == pytest.approx(wanted / 3)


def test_distillation_stops_gradients_at_teacher_and_student() -> None:
    teacher, student, assistant = ([of(values(2, 3)).requires_grad_() for _ in range(2)] for _ in range(3))
    arrays = [[x.detach().numpy() for x in group] for group in (teacher, student, assistant)]
    loss = domain_losses.assistant_loss(teacher, student, assistant)
    assert loss.item() == pytest.approx(sum(((t - s - a) ** 2).mean() for t, s, a in zip(*arrays, strict=True)))
    loss.backward()
    assert all(x.grad is None for x in teacher + student)
    assert all(x.grad is not None for x in assistant)
    together = domain_losses.assistant_loss(teacher, student, assistant, student_learns=True)
    assert together.item() == pytest.approx(loss.item())
    together.backward()
    assert all(x.grad is None for x in teacher)
    assert all(x.grad is not None for x in student)
    student[1].grad = None
    loss = domain_losses.student_loss(teacher[1], student[1], "sum")
    assert loss.item() == pytest.approx(((arrays[0][1] - arrays[1][1]) ** 2).sum() / 2)
    loss.backward()
    assert teacher[1].grad is None
    assert student[1].grad is not None
