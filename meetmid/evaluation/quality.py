"""What pictures are worth: PSNR and SSIM of made pictures, their cumulative distribution, and error against discard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meetmid.errors import InputError
from meetmid.evaluation.trials import Trials

Picture = NDArray[np.uint8]
Values = NDArray[np.float64]
LUMA = np.array([65.481, 128.553, 24.966]) / 255.0

SSIM_SIDE = 11
"""Of SSIM's windows, in pixels."""


def psnr(made: Picture, true: Picture, space: Literal["rgb", "y"] = "rgb") -> float:
    """10 log10(255^2 / MSE) in dB of two (H, W, 3) uint8 RGB pictures (networks.md section 12); inf for equal ones.

    ``space`` "y" compares the luma 16..235 of ITU-R BT.601, unrounded, still over 255^2. Raises InputError for other shapes
    or dtypes.
    """
    a, b = _planes(made, true, space)
    error = float(np.square(a - b).mean())
    return float("inf") if error == 0 else 10.0 * float(np.log10(255.0**2 / error))


def ssim(made: Picture, true: Picture, space: Literal["rgb", "y"] = "rgb") -> float:
    """Structural similarity of two (H, W, 3) uint8 RGB pictures, the mean over channels, at least 11 px a side.

    11 x 11 Gaussian of sigma 1.5, K1 0.01, K2 0.03, range 255, over windows that lie inside (Z. Wang et al., "Image quality
    assessment", IEEE TIP 13(4), 2004, section III-C).
    """
    from scipy.ndimage import gaussian_filter

    planes = _planes(made, true, space)
    if min(planes[0].shape[:2]) < SSIM_SIDE:
        raise InputError(f"expected pictures of at least {SSIM_SIDE} x {SSIM_SIDE} px for SSIM, got {planes[0].shape[:2]}")

    def local(values: Values) -> Values:
        blurred: Values = gaussian_filter(values, (1.5, 1.5, 0.0), radius=5)
        return blurred[5:-5, 5:-5]

    a, b = planes
    mean_a, mean_b = local(a), local(b)
    var_a, var_b, cov = local(a * a) - mean_a**2, local(b * b) - mean_b**2, local(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    index = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(index.mean())


def cumulative(values: ArrayLike) -> tuple[Values, Values]:
    """The cumulative score distribution: sorted values x, and the share of values at most x (networks.md section 12)."""
    x = np.sort(np.asarray(values, np.float64))
    if x.ndim != 1 or not len(x) or np.isnan(x).any():
        raise InputError(f"expected values (N,) with N > 0 and no NaN, got shape {x.shape}")
    return x, np.searchsorted(x, x, "right") / len(x)


@dataclass(frozen=True, eq=False)
class Discard:
    """FNMR (``fnmr``) of what is left when the ``share`` of mated attempts with the lowest quality is refused."""

    share: Values = field(repr=False)
    fnmr: Values = field(repr=False)
    threshold: float
    n: int


def error_versus_discard(trials: Trials, quality: ArrayLike, threshold: float) -> Discard:
    """Error-versus-discard at a threshold that stays fixed (P. Grother and E. Tabassi, IEEE TPAMI 29(4), 2007, section 4).

    ``quality`` (P,) of the probes, higher is better, such as the size of the face; attempts of equal quality leave together.
    Failures are false non-matches. Raises InputError for NaN qualities and without mated attempts.
    """
    if np.isnan(threshold):
        raise InputError("expected a threshold, got NaN")
    values = np.asarray(quality, np.float64)
    if values.shape != trials.probe_subjects.shape or np.isnan(values).any():
        count = len(trials.probe_subjects)
        raise InputError(f"expected a quality for each of {count} probes, got shape {values.shape} or NaN")
    missed, of, first = [], [], 0
    for scores, mated, _ in trials.blocks():
        rows, columns = np.nonzero(mated)
        missed.append(~(scores[rows, columns] > threshold))
        of.append(values[first + rows])
        first += len(scores)
    wrong, level = np.concatenate(missed), np.concatenate(of)
    if not len(wrong):
        raise InputError("expected mated attempts, got none")
    steps, place = np.unique(level, return_inverse=True)
    errors, counts = np.bincount(place, wrong, len(steps)), np.bincount(place, minlength=len(steps))
    left, kept = errors[::-1].cumsum()[::-1], counts[::-1].cumsum()[::-1]
    return Discard(1 - kept / len(wrong), left / kept, threshold, len(wrong))


def _planes(made: Picture, true: Picture, space: str) -> tuple[Values, Values]:
    if space not in ("rgb", "y"):
        raise InputError(f"expected space 'rgb' or 'y', got {space!r}")
    for picture in (made, true):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.shape != true.shape:
            raise InputError(
                f"expected two pictures (H, W, 3) uint8 of one size, got {made.shape} {made.dtype}, {true.shape} {true.dtype}"
            )
    a, b = made.astype(np.float64), true.astype(np.float64)
    return (a, b) if space == "rgb" else ((a @ LUMA)[..., None], (b @ LUMA)[..., None])
