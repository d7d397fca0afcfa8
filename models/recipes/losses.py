"""Losses that the translating recipes share: pixels, adversaries, features, identity, attributes, class activation.

Pictures are (N, 3, H, W) RGB in [-1, 1]. Sources are named as in networks.md: ANYRES is section 5.3, AG-GAN section 6.5, PCFH
section 7.3, and section 11 what they share. ``reduction`` "mean" is over all values, "sum" adds the values of each picture and
averages over the batch; the papers write norms without saying which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Reduction = Literal["mean", "sum"]
Features = Callable[[Tensor], Sequence[Tensor]]

VGG19_LAYERS = {"features.1": 1 / 32, "features.6": 1 / 16, "features.11": 1 / 8, "features.20": 1 / 4, "features.29": 1.0}
"""relu1_1, 2_1, 3_1, 4_1 and 5_1 of torchvision's VGG-19 with pix2pixHD's weights (networks.md section 11)."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """The mean of all values, or the batch's mean of each picture's sum."""
    return values.mean() if reduction == "mean" else values.flatten(1).sum(1).mean()


def l1(first: Tensor, second: Tensor, reduction: Reduction = "mean") -> Tensor:
    """ANYRES's L_cond, AG-GAN's L_1, PCFH's L_rec (eqs. unnumbered in networks.md): |first - second|.

    PCFH's weight of 2.5e-5 for L_rec only makes sense with "sum" (networks.md section 7.3); the others are means.
    """
    return reduce((first - second).abs(), reduction)


def l2(first: Tensor, second: Tensor, reduction: Reduction = "mean") -> Tensor:
    """RIM's L_pixel, sum_ij (I_sr - I_hr)^2 (networks.md section 8.4), where "sum" is as printed; its weight assumes a mean."""
    return reduce((first - second).square(), reduction)


def lsgan(scores: Tensor | Iterable[Tensor], real: bool) -> Tensor:
    """(score - 1)^2 where ``real``, else score^2, the mean of each map, added over several discriminators.

    X. Mao et al., "Least squares GANs", ICCV 2017, eq. 2; AG-GAN eq. 13 prints real^2 + (1 - fake)^2, the form of U-GAT-IT
    for a maximisation: real is 1 and fake 0 here (networks.md section 6.5).
    """
    maps = [scores] if isinstance(scores, Tensor) else list(scores)
    return torch.stack([(score - float(real)).square().mean() for score in maps]).sum()


def wgan_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E D(fake) - E D(real), which the critic minimises (I. Gulrajani et al., NeurIPS 2017, eq. 3 without its penalty).

    PCFH states the generator's side only (eq. 1): the critic's loss is a choice, LSGAN the other (networks.md section 7.3).
    """
    return fake.mean() - real.mean()


def wgan_generator(fake: Tensor) -> Tensor:
    """PCFH's L_ad, -E D_A(G_A(I_N)) (eq. 1)."""
    return -fake.mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E (|grad D(x)| - 1)^2 at x = mix real + (1 - mix) fake, ``mix`` (N, 1, 1, 1) uniform (Gulrajani et al. 2017, eq. 3).

    The published weight is 10. A map of scores is averaged per picture first.
    """
    point = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    scores = critic(point).reshape(len(point), -1).mean(1).sum()
    (gradient,) = torch.autograd.grad(scores, point, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def layer_features(network: nn.Module, layers: Sequence[str]) -> Features:
    """A function that runs a frozen ``network`` and returns what the named layers gave, in the order of ``layers``."""
    frozen(network)
    missing = sorted(set(layers) - {name for name, _ in network.named_modules()})
    if missing:
        raise ValueError(f"the feature network has no layers {', '.join(missing)}")

    def run(pictures: Tensor) -> list[Tensor]:
        found: dict[str, Tensor] = {}
        hooks = [
            network.get_submodule(name).register_forward_hook(
                lambda _, __, output, name=name: found.__setitem__(name, output)
            )
            for name in layers
        ]
        try:
            network.to(pictures.device)(pictures)
        finally:
            for hook in hooks:
                hook.remove()
        return [found[name] for name in layers]

    return run


def frozen(network: nn.Module) -> nn.Module:
    """In evaluation, with parameters that no loss changes; gradients still flow to its input."""
    return network.eval().requires_grad_(False)


class FeatureLoss(nn.Module):
    """The perceptual loss L_P of ANYRES and AG-GAN: sum_l w_l mean |phi_l(first) - phi_l(second)|.

    The papers name VGG-19 and no layers: ``features`` is any frozen network's, as :func:`layer_features` makes them, with one
    weight per layer (:data:`VGG19_LAYERS` by pix2pixHD's habit). Pictures in [-1, 1] become (unit - mean) / std first.
    """

    def __init__(
        self, features: Features, weights: Sequence[float],
        mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.features, self.weights = features, tuple(weights)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of a batch; ``second`` is the reference, without gradient, repeated where ``first`` is several batches."""
        ours = self.features(((first + 1) / 2 - self.mean) / self.std)
        with torch.no_grad():
            wanted = self.features(((second + 1) / 2 - self.mean) / self.std)
        times = len(first) // len(second)
        terms = [w * l1(a, b.repeat(times, 1, 1, 1)) for w, a, b in zip(self.weights, ours, wanted, strict=True)]
        return torch.stack(terms).sum()


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic and differentiable, antialiased where it shrinks, to (height, width)."""
    if tuple(pictures.shape[2:]) == size:
        return pictures
    shrinks = pictures.shape[2] > size[0] or pictures.shape[3] > size[1]
    return functional.interpolate(pictures, size=size, mode="bicubic", align_corners=False, antialias=shrinks)


def cosine_distance(first: Tensor, second: Tensor) -> Tensor:
    """L_I and L_ID of ANYRES and AG-GAN: E[1 - cos(phi(I), phi(J))] of templates (N, D) (AG-GAN eq. 11).

    AG-GAN's eq. 11 prints the thermal picture as the reference where its text means the visible one: the caller chooses.
    """
    return (1 - functional.cosine_similarity(first, second, dim=1)).mean()


def template_distance(first: Tensor, second: Tensor, reduction: Reduction = "sum") -> Tensor:
    """PCFH's L_ID, |F(I_V) - F(G_A(I_N))|_1 on templates (N, D), a sum by default (networks.md section 7.3)."""
    return l1(first, second, reduction)


def attributes(scorers: Mapping[str, Callable[[Tensor], Tensor]], first: Tensor, second: Tensor) -> Tensor:
    """ANYRES's L_A: sum over scorers of |phi(first) - phi(second)|, each a mean over its scores.

    The paper scores age and gender with DeepFace's networks; any frozen function of pictures will do, and none gives 0.
    """
    terms = [l1(score(first), score(second).detach()) for score in scorers.values()]
    return torch.stack(terms).sum() if terms else first.new_zeros(())


def cam_generator(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """AG-GAN's L_CAM^G (eq. 12): -(E_{x in T} log eta(x) + E_{x in V} log(1 - eta(x))), as BCE with logits.

    Eq. 12 prints 1 - log eta where log(1 - eta) is meant. ``target_logits`` are those of visible pictures fed to the
    generator as negatives. Each expectation is a mean over pictures and over the two poolings' logits.
    """
    of_source = functional.binary_cross_entropy_with_logits(source_logits, torch.ones_like(source_logits))
    of_target = functional.binary_cross_entropy_with_logits(target_logits, torch.zeros_like(target_logits))
    return of_source + of_target


def luminance(pictures: Tensor) -> Tensor:
    """Y = 0.299 R + 0.587 G + 0.114 B (PCFH, at L_Y): (N, 3, H, W) to (N, 1, H, W)."""
    return (pictures * pictures.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def luminance_loss(generated: Tensor, source: Tensor, reduction: Reduction = "mean") -> Tensor:
    """PCFH's L_Y, |Y(G_A(I_N)) - Y(I_N)|_1; with its weight of 0.1 a sum would dominate, so a mean (networks.md 7.3)."""
    return l1(luminance(generated), luminance(source), reduction)
