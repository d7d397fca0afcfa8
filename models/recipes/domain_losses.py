"""Losses of single families: PCFH's attention and information, RIM's priors, domains and distillation.

PCFH is networks.md section 7.2 and 7.3, RIM section 8.4. ``reduction`` is that of :mod:`meetmid.models.recipes.losses`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from meetmid.models.recipes.losses import Reduction, l1, l2, reduce
from torch import Tensor
from torch.nn import functional

Critic = Callable[[Tensor, Tensor], Tensor]
KERNEL_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def nuclear_norm(maps: Tensor) -> Tensor:
    """The sum of the singular values of each (H, W) map of (N, 1, H, W), averaged over the batch."""
    return torch.linalg.svdvals(maps[:, 0]).sum(1).mean()


def attention_loss(
    attention: Tensor, generated: Tensor, warped: Tensor, weights: tuple[float, float, float] = (3.0, 0.003, 1e-6),
    reduction: Reduction = "sum",
) -> Tensor:
    """PCFH's L_A, which the attention map learns from: a1 |Att G - I_warp|_1 + a2 rank(Att) + a3 |Att|_1.

    Att is (N, 1, H, W) in (0, 1). The rank has no gradient, so it is the nuclear norm; the norms are sums by the size of
    their weights (networks.md section 7.2).
    """
    pixel, rank, sparse = weights
    difference = l1(attention * generated, warped, reduction)
    return pixel * difference + rank * nuclear_norm(attention) + sparse * reduce(attention, reduction)


def attention_warping(attention: Tensor, generated: Tensor, warped: Tensor, reduction: Reduction = "sum") -> Tensor:
    """PCFH's L_AWM, which the generator learns from: |A(G) - A(I_warp)|_1, A(x) = Att x; a sum like L_rec.

    Unlike in L_A both sides are attended (networks.md section 7.3), so that the attention map itself must not learn from it:
    zero would be best.
    """
    attention = attention.detach()
    return l1(attention * generated, attention * warped, reduction)


def information(critic: Critic, first: Tensor, second: Tensor) -> Tensor:
    """PCFH's estimate of I(first, second) (eq. 10): E_joint N_E - E_product N_E, product pairs made by a shift in the batch.

    The critic maximises it, with a weight clip or a gradient penalty that the paper leaves out. A batch of at least 2.
    """
    if len(first) < 2:
        raise ValueError(f"mutual information expects a batch of at least 2, got {len(first)}")
    return critic(first, second).mean() - critic(first, second.roll(1, 0)).mean()


def information_loss(
    critic: Critic, generated: Tensor, source: Tensor, target: Tensor, sign: Literal["intended", "printed"] = "intended"
) -> Tensor:
    """PCFH's L_MIC without its weight: I(G, N) - I(G, V), to be minimised; eq. 9 prints the opposite sign."""
    value = information(critic, generated, source) - information(critic, generated, target)
    return value if sign == "intended" else -value


def mk_mmd(first: Tensor, second: Tensor, scales: Sequence[float] = KERNEL_SCALES, median: Tensor | None = None) -> Tensor:
    """RIM's L_domain, the squared MMD of embeddings (N1, D) and (N2, D) with several Gaussians (the biased estimate).

    k(x, y) = mean_u exp(-|x - y|^2 / (2 s_u)). The paper gives no kernels: s_u is the median squared distance between
    different embeddings of both sets, without gradient, times ``scales``; ``median`` overrides it.
    """
    both = torch.cat([first, second])
    squared = (both[:, None] - both[None]).square().sum(2)
    if median is None:
        others = ~torch.eye(len(both), dtype=torch.bool, device=both.device)
        median = squared.detach()[others].median().clamp(min=1e-12)
    kernel = torch.stack([torch.exp(-squared / (2 * scale * median)) for scale in scales]).mean(0)
    count = len(first)
    return kernel[:count, :count].mean() - 2 * kernel[:count, count:].mean() + kernel[count:, count:].mean()


def heat_maps(points: Tensor, size: int, grid: int, sigma: float = 1.3 * 56 / 112) -> Tensor:
    """(N, K, 2) landmarks, x and y in a picture of ``size`` pixels, to Gaussians of height 1, (N, K, grid, grid).

    Cell i covers the pixels around ((i + 0.5) size / grid - 0.5); ``sigma`` is in cells (networks.md section 8.2).
    """
    centres = (points + 0.5) * (grid / size) - 0.5
    cells = torch.arange(grid, dtype=points.dtype, device=points.device)
    x = torch.exp(-((cells - centres[..., :1]) ** 2) / (2 * sigma**2))
    y = torch.exp(-((cells - centres[..., 1:]) ** 2) / (2 * sigma**2))
    return y[..., :, None] * x[..., None, :]


def landmark_loss(maps: Tensor, wanted: Tensor) -> Tensor:
    """RIM's L_landmark: (1/K) sum_k sum_ij (H_sr - H_hr)^2 of maps (N, K, h, w), averaged over the batch."""
    return l2(maps, wanted, "sum") / maps.shape[1]


def parsing_loss(logits: Tensor, labels: Tensor, *, per_class: bool = False) -> Tensor:
    """RIM's L_parsing: cross-entropy of (N, C, h, w) logits and (N, h, w) labels, a mean over pixels.

    The paper prints a factor 1/C: ``per_class`` adds it.
    """
    loss = functional.cross_entropy(logits, labels)
    return loss / logits.shape[1] if per_class else loss


def student_loss(teacher: Tensor, student: Tensor, reduction: Reduction = "mean") -> Tensor:
    """RIM's L_thetaS: |f_T^K - f_S^K|^2 at the last block, the teacher without gradient.

    Printed as a sum; the mean keeps its size apart from the shapes.
    """
    return l2(student, teacher.detach(), reduction)


def assistant_loss(
    teacher: Sequence[Tensor], student: Sequence[Tensor], assistant: Sequence[Tensor], reduction: Reduction = "mean", *,
    student_learns: bool = False,
) -> Tensor:
    """RIM's L_thetaA: sum_k |(f_T^k - f_S^k) - f_A^k|^2 over all blocks.

    The paper does not say whether the student learns from it: without ``student_learns`` neither teacher nor student carries
    a gradient (networks.md section 8.4). Then the student's maps before the last one are free, and since all maps end in a
    ReLU, the assistant cannot take back what the student has too much of.
    """
    terms = [
        l2(s + a if student_learns else s.detach() + a, t.detach(), reduction)
        for t, s, a in zip(teacher, student, assistant, strict=True)
    ]
    return torch.stack(terms).sum()
