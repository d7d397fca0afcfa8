"""The papers' own figures, to print beside a reproduction (transcribed in networks.md section 14; datasets: section 13).

Everything here was published by others about their trained networks on their pictures; a run of this library shows its own
figures above them and never these in their place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Row = tuple[float | None, ...]


@dataclass(frozen=True)
class PublishedTable:
    """Figures of one table of a ``paper`` about a ``dataset``: ``rows`` by method, one figure (or None) per column.

    Columns are named as in :mod:`meetmid.evaluation.measures`: rates in percent, PSNR in dB, SSIM up to 1.
    """

    paper: str
    dataset: str
    columns: tuple[str, ...]
    rows: dict[str, Row] = field(repr=False)
    size: int | None = None
    """Side in pixels of the probes, where the table is about one."""


ANYRES = "ANYRES, Anghelone et al., table 1"
AGGAN, PCFH, RIM = "AG-GAN", "PCFH", "RIM"

SPECTRAL = ("AUC", "EER", "SSIM")
TRANSLATION = ("AUC", "EER", "PSNR", "SSIM")
CROSS = ("rank-1", "TMR at FMR 1 %", "TMR at FMR 0.1 %")
PAIRS = ("accuracy",)
QUALITY = ("PSNR", "SSIM")

_RIM_SHARP = ("ArcFace", "VGGFace2", "CenterFace")
_RIM_LOW = (
    "ArcFace, super-resolved", "VGGFace2, super-resolved", "CenterFace, super-resolved", "ArcFace", "RIM",
)
_METHODS = ("SRGAN", "AxialGAN", "ANYRES-multi")
_ANYRES: dict[int, dict[str, tuple[tuple[float, float, float], ...]]] = {  # AUC %, EER %, SSIM %
    16: {
        "arl-vtf": ((82.68, 25.69, 50.21), (84.45, 22.92, 59.74), (91.24, 16.90, 63.05)),
        "vis-th": ((69.91, 36.86, 49.15), (72.14, 33.82, 53.82), (75.94, 29.66, 53.89)),
        "speaking-faces": ((71.76, 34.09, 56.57), (77.61, 29.12, 64.69), (77.64, 28.04, 65.34)),
        "tufts": ((50.86, 49.31, 14.76), (59.65, 43.10, 38.79), (63.62, 40.23, 39.01)),
    },
    32: {
        "arl-vtf": ((95.26, 12.02, 56.50), (95.19, 11.85, 64.43), (98.61, 6.17, 64.23)),
        "vis-th": ((84.86, 22.04, 54.01), (84.95, 22.50, 57.36), (87.01, 20.82, 55.35)),
        "speaking-faces": ((82.81, 24.79, 64.20), (84.24, 23.34, 67.93), (84.77, 23.08, 68.33)),
        "tufts": ((58.44, 44.14, 23.25), (63.38, 40.39, 39.91), (77.22, 29.09, 40.01)),
    },
    64: {
        "arl-vtf": ((97.85, 5.30, 59.72), (97.22, 9.19, 66.39), (99.42, 4.02, 67.05)),
        "vis-th": ((88.07, 20.86, 56.97), (88.09, 20.88, 57.78), (89.57, 18.08, 57.43)),
        "speaking-faces": ((86.02, 21.42, 63.02), (86.14, 21.49, 67.33), (86.24, 21.24, 68.85)),
        "tufts": ((66.60, 38.04, 33.62), (64.23, 39.69, 41.31), (80.74, 26.41, 41.38)),
    },
    128: {
        "arl-vtf": ((98.61, 5.14, 59.28), (97.91, 9.65, 66.48), (99.44, 3.82, 67.02)),
        "vis-th": ((88.16, 20.18, 57.14), (88.59, 20.96, 57.98), (89.58, 18.04, 57.98)),
        "speaking-faces": ((87.47, 20.27, 67.07), (87.02, 20.52, 67.61), (89.13, 18.14, 68.93)),
        "tufts": ((67.47, 37.58, 39.08), (66.27, 38.23, 40.00), (80.91, 26.29, 40.30)),
    },
}

FUSED_MODELS = ("MS1MV3-R50", "MS1MV3-R101", "Glint360k-R50", "Glint360k-R101")
FUSED_SCALES = (2, 4, 8)
_PER_SCALE = {
    "+SR, single hypothesis": ((41.23, 50.15, 67.07, 73.07), (32.92, 41.07, 55.07, 60.92), (27.69, 36.92, 47.53, 52.92)),
    "+multi-hypothesis SR": ((50.92, 56.00, 67.84, 74.15), (53.07, 58.46, 74.15, 76.61), (52.61, 60.15, 72.00, 76.30)),
    "+resolution matching": ((60.61, 70.00, 83.53, 86.61), (54.92, 62.00, 74.76, 80.00), (50.92, 57.53, 70.92, 76.61)),
    "+gallery degradations": ((70.61, 79.38, 84.61, 90.00), (68.61, 77.84, 83.84, 89.69), (65.53, 76.30, 84.61, 88.00)),
}
FUSED_LADDER: dict[str, Row] = {
    "baseline": (39.84, 50.61, 64.00, 74.61),
    **{
        f"{step}, {scale}x": row
        for step, rows in _PER_SCALE.items() for scale, row in zip(FUSED_SCALES, rows, strict=True)
    },
    "+multi-scale, probe T_add, gallery T_add": (70.61, 79.38, 88.61, 90.15),
    "+multi-scale, probe T_add, gallery S_add": (70.30, 78.61, 88.15, 91.07),
    "+multi-scale, probe T_add, gallery S_max": (78.15, 85.53, 92.46, 92.00),
    "+multi-scale, probe S_add, gallery T_add": (71.23, 77.07, 89.07, 90.76),
    "+multi-scale, probe S_max, gallery T_add": (78.46, 78.92, 86.76, 90.15),
    "+multi-scale, probe S_add, gallery S_add": (72.00, 75.84, 88.15, 90.76),
    "+multi-scale, probe S_add, gallery S_max": (None, None, None, 93.53),
    "+multi-scale, T_concat": (71.69, 79.23, 89.23, 91.07),
}
"""Grm et al. 2023: rank-1 percentages on SCface at 4.2 m for the four ``FUSED_MODELS``, by step (tables 2 and 3). Table 2's
column S_add fits no half of table 3; it stands at S_add on both sides, as networks.md section 15.1 reads it."""
FUSED_SUBSETS = {
    "Martinez": 68.3, "Fang": 70.5, "Aghdam": 78.5, "Lai": 79.7, "Khalid (NPT)": 85.7, "Khalid (distilled)": 88.3,
    "Grm et al.": 95.4, "Sun, fine-tuned": 65.5, "DCR, fine-tuned": 73.3, "TCN, fine-tuned": 74.6, "FAN, fine-tuned": 77.5,
    "Fang, fine-tuned": 81.3, "Huang, fine-tuned": 86.8, "Li, fine-tuned": 90.4, "Lai, fine-tuned": 93.0,
    "Martinez, fine-tuned": 95.3,
}
"""Grm et al. 2023, table 4: mean rank-1 percentages over ten subsets of 80 people."""

TABLES: tuple[PublishedTable, ...] = (
    *(
        PublishedTable(ANYRES, name, SPECTRAL, {
            method: (area, equal, round(ssim / 100, 4)) for method, (area, equal, ssim) in zip(_METHODS, rows, strict=True)
        }, size)
        for size, sets in _ANYRES.items() for name, rows in sets.items()
    ),
    PublishedTable(f"{AGGAN}, table 1", "arl-vtf", TRANSLATION, {
        "U-GAT-IT": (89.58, 17.84, 14.49, 0.65), "AttentionGAN": (93.35, 13.41, 14.34, 0.64),
        "LG-GAN": (94.26, 12.99, 15.77, 0.61), "SG-GAN": (98.52, 5.07, 17.27, 0.71), "Axial-GAN": (99.05, 4.98, None, None),
        "AG-GAN": (98.74, 5.56, 17.39, 0.70), "AG-GAN+": (99.26, 4.30, 17.58, 0.72),
    }),
    PublishedTable(f"{AGGAN}, table 2", "speaking-faces", TRANSLATION, {
        "U-GAT-IT": (83.0, 24.48, 19.05, 0.71), "CUT": (83.62, 23.59, 20.51, 0.67),
        "AttentionGAN": (84.69, 22.92, 19.21, 0.71), "Pix2Pix": (86.82, 20.99, 20.29, 0.72),
        "CycleGAN": (86.97, 20.70, 20.34, 0.67), "SG-GAN": (88.41, 19.23, 20.33, 0.72),
        "Axial-GAN": (89.51, 17.90, 21.15, 0.69), "AG-GAN": (89.86, 17.68, 20.82, 0.74),
        "AG-GAN+": (90.53, 17.20, 21.01, 0.75),
    }),
    PublishedTable(f"{AGGAN}, table 3", "arl-vtf", TRANSLATION, {
        "full": (98.74, 5.56, 17.39, 0.70), "without DCAM": (97.19, 7.09, 17.00, 0.69),
        "without GCAM": (97.93, 6.30, 17.67, 0.70), "without both": (97.74, 7.29, 17.81, 0.71),
    }),
    PublishedTable(f"{AGGAN}, table 4", "arl-vtf", TRANSLATION, {
        "without identity loss": (97.66, 7.78, 17.02, 0.69), "MobileFaceNet": (97.59, 7.57, 16.94, 0.69),
        "ArcFace": (98.74, 5.56, 17.39, 0.70),
    }),
    PublishedTable(f"{PCFH}, table 1 (fold 1)", "casia", CROSS, {
        "Pixel2Pixel": (22.13, 39.22, 14.45), "CycleGAN": (87.23, 93.92, 79.41), "Light CNN": (96.84, 99.10, 94.68),
        "without AWM": (96.89, 99.07, 94.96), "without MIC": (97.66, 99.22, 96.49), "PCFH": (98.50, 99.58, 97.32),
    }),
    PublishedTable(f"{PCFH}, table 2 (mean of ten folds)", "casia", CROSS, {
        "VGG, sd 1.88 / 1.25 / 2.85": (62.1, 71.0, 39.7), "TRIVET, sd 0.52 / 0.31 / 1.26": (95.7, 98.1, 91.0),
        "Light CNN, sd 0.23 / 0.64 / 0.43": (96.7, 98.5, 94.8), "IDR-128, sd 0.43 / 0.29 / 0.73": (97.3, 98.9, 95.7),
        "ADFL, sd 0.34 / 0.15 / 0.48": (98.2, 99.1, 97.2), "PCFH, sd 0.26 / 0.08 / 0.26": (98.80, 99.57, 97.68),
    }),
    PublishedTable(f"{PCFH}, table 3", "buaa", CROSS, {
        "KDSR": (83.0, 86.8, 69.5), "TRIVET": (93.9, 93.0, 80.9), "IDR": (94.3, 93.4, 84.7), "ADFL": (95.2, 95.3, 88.0),
        "Light CNN": (96.5, 95.4, 86.7), "without AWM": (97.4, 97.2, 89.6), "without MIC": (98.2, 97.6, 91.3),
        "PCFH": (98.4, 97.9, 92.4),
    }),
    PublishedTable(f"{PCFH}, table 4", "oulu", CROSS, {
        "KDSR": (66.9, 56.1, 31.9), "TRIVET": (92.2, 67.9, 33.6), "IDR": (94.3, 73.4, 46.2), "ADFL": (95.5, 83.0, 60.7),
        "Light CNN": (96.9, 93.7, 79.4), "without AWM": (100.0, 96.63, 80.22), "without MIC": (100.0, 97.63, 85.99),
        "PCFH": (100.0, 97.7, 86.6),
    }),
    PublishedTable(f"{RIM}, table 1", "lfw", PAIRS, {
        "a teacher": (84.3,), "b student": (68.7,), "c student, distilled": (80.2,), "d FHN, teacher": (99.7,),
        "e FHN, teacher, student": (96.6,), "f FHN, teacher, student, assistant": (98.8,),
    }, 28),
    PublishedTable(f"{RIM}, table 1", "lfw", PAIRS, {"g teacher": (99.8,)}),
    *(
        PublishedTable(
            f"{RIM}, table 2", name, PAIRS, {m: (v,) for m, v in zip(methods, row, strict=True) if v is not None}, size
        )
        for name, sharp, low in (
            ("helen", (99.8, None, None), (99.8, None, None, 84.3, 98.7)),
            ("lfw", (99.8, 99.4, 98.8), (99.8, 99.0, 97.5, 80.7, 98.8)),
            ("calfw", (95.2, None, None), (95.0, None, None, 78.1, 94.3)),
            ("cplfw", (92.1, 84.0, 77.5), (92.0, 82.7, 76.3, 79.7, 90.8)),
        )
        for size, methods, row in ((None, _RIM_SHARP, sharp), (28, _RIM_LOW, low))
    ),
    PublishedTable(f"{RIM}, table 3", "lfw", PAIRS, {
        "teacher": (84.3,), "student": (80.7,), "Staged-CNN": (90.2,), "Guided-CNN": (93.8,), "RIM": (98.8,),
    }, 28),
    PublishedTable(f"{RIM}, table 3", "lfw", PAIRS, {
        "teacher": (99.8,), "Staged-CNN": (90.8,), "Guided-CNN": (97.4,), "RIM": (99.8,),
    }),
    PublishedTable(f"{RIM}, table 4, made 224 px", "lfw", QUALITY, {
        "bicubic": (24.965, 0.629), "VDSR": (25.613, 0.730), "SRCNN": (25.712, 0.713), "LapSRN": (26.380, 0.786),
        "ESRGAN": (25.607, 0.783), "RIM": (28.572, 0.882),
    }, 28),
)


def tables_of(dataset: str, size: int | None = None, *, all_folds: bool = False) -> tuple[PublishedTable, ...]:
    """The tables about a dataset: about probes of ``size`` px, or None for pictures as they are (an unreduced run of the sets
    that ANYRES reduces stands beside none of its sizes); of CASIA's ten folds or of its first."""
    folds = "mean of ten folds" if all_folds else "fold 1"
    return tuple(
        table for table in TABLES
        if table.dataset == dataset and table.size == size and ("fold" not in table.paper or folds in table.paper)
    )
