"""Measuring: error rates, identification rates, likelihood ratios and intervals from score matrices; a simulated far camera."""

from __future__ import annotations

from meetmid.evaluation.calibration import Calibration, calibrate
from meetmid.evaluation.camera import FarCamera
from meetmid.evaluation.folds import FoldAccuracy, fold_accuracy
from meetmid.evaluation.identification import Cmc, Search, search
from meetmid.evaluation.intervals import clopper_pearson, wilson
from meetmid.evaluation.likelihood import cllr, min_cllr
from meetmid.evaluation.normalisation import as_norm, s_norm, t_norm, z_norm
from meetmid.evaluation.quality import Discard, cumulative, error_versus_discard, psnr, ssim
from meetmid.evaluation.trials import Acquisition, Trials, acquisition
from meetmid.evaluation.uncertainty import Interval, bootstrap, compare, mcnemar
from meetmid.evaluation.verification import Curve, EqualErrorRate, ErrorRates, OperatingPoint

__all__ = [
    "Acquisition",
    "Calibration",
    "Cmc",
    "Curve",
    "Discard",
    "EqualErrorRate",
    "ErrorRates",
    "FarCamera",
    "FoldAccuracy",
    "Interval",
    "OperatingPoint",
    "Search",
    "Trials",
    "acquisition",
    "as_norm",
    "bootstrap",
    "calibrate",
    "cllr",
    "clopper_pearson",
    "compare",
    "cumulative",
    "error_versus_discard",
    "fold_accuracy",
    "mcnemar",
    "min_cllr",
    "psnr",
    "s_norm",
    "search",
    "ssim",
    "t_norm",
    "wilson",
    "z_norm",
]
