"""Every family at the size of its paper: checkpoint -> recognition -> ONNX -> agreement with PyTorch, and what a run costs.

    python benchmarks/export_parity.py [--only NAME ...] [--device cpu|cuda] [--precisions fp32 fp16]

Random weights and statistics (no trained ones can be had for most). Milliseconds are medians over a full batch of the library's
own runtime. Writes benchmarks/results/export_parity.csv with machine and versions, row by row.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import write_csv
from torch import nn

from meetmid.errors import ModelError
from meetmid.export import export_onnx
from meetmid.networks import baselines, cyclegan, evolve, iresnet, lightcnn, mobilefacenet, pcfh, rim, rim_recognition
from meetmid.networks.aggan import AGGAN
from meetmid.networks.anyres import AnyRes
from meetmid.networks.edsr import EDSR, GatedEDSR, MeanShift, TanhEDSR, large_edsr
from meetmid.runtime.sessions import Network

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{f"EDSR r16 f64 {scale}x": lambda scale=scale: EDSR(scale) for scale in (2, 3, 4, 8)},
    "EDSR r32 f256 2x": lambda: large_edsr(2),
    "EDSR tanh r32 f256 4x": TanhEDSR, "EDSR gated r32 f256 4x": lambda: GatedEDSR(4), "SRGAN": baselines.SRResNet,
    **{f"IResNet-{depth}": lambda depth=depth: iresnet.iresnet(depth) for depth in iresnet.DEPTHS},
    "IR-50 at 112": lambda: evolve.evolve(50), "IR-SE-50 at 112": lambda: evolve.evolve(50, squeeze_excite=True),
    "IR-50 at 224": lambda: evolve.evolve(50, size=224),
    "MobileFaceNet": mobilefacenet.MobileFaceNet, "MobileFaceNet classic": mobilefacenet.ClassicMobileFaceNet,
    "LightCNN-9": lightcnn.LightCNN9, "LightCNN-29 v1": lambda: lightcnn.LightCNN29(1, classes=79077),
    "LightCNN-29 v2": lambda: lightcnn.LightCNN29(2, classes=80013), "LightCNN v4": lightcnn.LightCNNV4,
    "RIM ResNet-34": rim_recognition.ResNet34, "RIM HRN": rim_recognition.HRN, "RIM FHN": rim.FHN, "ANYRES": AnyRes,
    "AG-GAN": AGGAN, "AG-GAN+": lambda: AGGAN("se"), "CycleGAN 9 blocks": cyclegan.ResNetGenerator,
    "PCFH": pcfh.PCFHGenerator, "pix2pix U-Net": baselines.Pix2PixUNet,
}


def randomise(network: nn.Module) -> nn.Module:
    """Statistics and slopes away from their start values, and weights that keep the signal through deep networks, so that the
    comparison is not vacuous."""
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.uniform_(*((-0.1, 0.1) if name.endswith("mean") else (0.5, 1.5)))
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and not isinstance(module, MeanShift):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            elif isinstance(module, nn.PReLU):
                module.weight.uniform_(0.1, 0.4)
    return network


def milliseconds(network: Network) -> float:
    """Per picture, the median of five batches after one that is not counted."""
    size = network.card.contract.size if min(network.card.contract.size) > 0 else (24, 24)
    batch = np.random.default_rng(0).random((network.batch(*size), *size, 3), dtype=np.float32)
    network.run(batch)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        network.run(batch)
        times.append(time.perf_counter() - begun)
    return 1000.0 * statistics.median(times) / len(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of networks (default: all)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precisions", nargs="*", default=["fp32", "fp16"], choices=("fp32", "fp16"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).parent / "results" / "export_parity.csv")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    print(f"{'network':<26}{'parameters':>12}{'precision':>11}{'error':>10}{'cosine':>11}{'MB':>8}{'export s':>10}{'ms':>9}")
    for name in args.only or NETWORKS:
        torch.manual_seed(0)
        network = randomise(NETWORKS[name]())
        parameters = sum(value.numel() for value in network.parameters())
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "checkpoint.pth"
            torch.save(network.state_dict(), checkpoint)
            del network
            for precision in args.precisions:
                begun = time.perf_counter()
                row: dict[str, object] = {"network": name, "parameters": parameters, "precision": precision}
                try:
                    card = export_onnx(checkpoint, Path(folder) / precision, precision=precision, name="network")
                    seconds = time.perf_counter() - begun
                    parity = card.facts["parity"]
                    run = Network(card, device=args.device)
                    row |= {
                        "family": card.family, "relative_error": parity[f"{precision}_relative_error"],
                        "cosine": parity.get(f"{precision}_cosine", ""),
                        "megabytes": round(card.facts["export"]["bytes"] / 1e6, 2), "export_seconds": round(seconds, 1),
                        "device": run.provider, "ms_per_picture": round(milliseconds(run), 2), "failure": "",
                    }
                    run.close()
                    print(
                        f"{name:<26}{parameters:>12,}{precision:>11}{row['relative_error']:>10.1e}{str(row['cosine'])[:10]:>11}"
                        f"{row['megabytes']:>8}{row['export_seconds']:>10}{row['ms_per_picture']:>9}", flush=True,
                    )
                except ModelError as error:
                    row |= dict.fromkeys(
                        ("family", "relative_error", "cosine", "megabytes", "export_seconds", "device", "ms_per_picture"), ""
                    ) | {"failure": str(error)}
                    print(f"{name:<26}{parameters:>12,}{precision:>11}  failed: {error}", flush=True)
                rows.append(row)
                write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
