"""Checkpoints of every family at reduced widths, with weights that no initialisation gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor, nn

pytest.importorskip("torch", reason="exporting needs torch (extra: export)")
pytest.importorskip("safetensors", reason="exporting needs safetensors (extra: export)")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Reproducible, and polite to the machine."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


def randomise(model: nn.Module) -> nn.Module:
    """Give normalisations, slopes and mixing weights other values than those they start from, and no output that hardly
    depends on the input, as the usual start of deep networks does."""
    import torch
    from torch import nn

    from meetmid.networks.adalin import LIN, AdaLIN
    from meetmid.networks.edsr import MeanShift

    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.1
            module.running_var = torch.rand_like(module.running_var) + 0.5
            module.num_batches_tracked.fill_(7)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d) and module.affine:
            module.weight.data = torch.rand_like(module.weight) + 0.5
            module.bias.data = torch.randn_like(module.bias) * 0.1
        if isinstance(module, nn.Conv2d | nn.Linear) and not isinstance(module, MeanShift):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")  # keeps the size of the signal
        if isinstance(module, nn.PReLU):
            module.weight.data = torch.rand_like(module.weight) * 0.4
        if isinstance(module, LIN | AdaLIN):
            module.rho.data = torch.rand_like(module.rho)
    return model.eval()


@dataclass(frozen=True)
class Sample:
    """A checkpoint of ``family``: the ``network`` that was trained, the ``state`` of its file, and what is to be read."""

    family: str
    network: nn.Module
    state: dict[str, Tensor]
    options: dict[str, Any] = field(default_factory=dict)


def to_basicsr(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """EDSR-PyTorch's names to BasicSR's, whose mean is no tensor of the file."""
    last = max(int(match[1]) for key in state if (match := re.match(r"body\.(\d+)\.", key)))
    names = (
        (r"^head\.0\.", "conv_first."), (rf"^body\.{last}\.", "conv_after_body."),
        (r"^body\.(\d+)\.body\.0\.", r"body.\1.conv1."), (r"^body\.(\d+)\.body\.2\.", r"body.\1.conv2."),
        (r"^tail\.0\.", "upsample."), (r"^tail\.1\.", "conv_last."),
    )

    def renamed(key: str) -> str:
        for old, new in names:
            key = re.sub(old, new, key)
        return key

    return {renamed(key): value for key, value in state.items() if not key.startswith(("sub_mean", "add_mean"))}


def v1_state(width: int, landmarks: int, parts: int) -> dict[str, Tensor]:
    """The tensors of RIM's public v1 checkpoint at a reduced width, with those that v1 defines and never calls."""
    import torch

    from meetmid.networks.rim import FHN

    state = randomise(FHN(landmarks, parts, passes=3, width=width)).state_dict()
    for part in ("_fine_sr_encoder", "_fine_sr_decoder"):  # v1 calls the middle ones twice
        for name in ("bn_out.weight", "bn_out.bias", "relu_out.weight"):
            del state[f"{part}.{name}"]
    for part in ("_coarse_sr_network", "_fine_sr_encoder"):
        state |= {f"{part}.bn_end.weight": torch.rand(3), f"{part}.bn_end.bias": torch.rand(3)}
    state |= {"_fine_sr_encoder.conv_mid.weight": torch.randn(3, width, 3, 3), "_fine_sr_encoder.conv_mid.bias": torch.rand(3)}
    state |= {"_fine_sr_decoder.instance_norm.weight": torch.rand(3), "_fine_sr_decoder.instance_norm.bias": torch.rand(3)}
    for key in [key for key in state if key.startswith("_prior_estimation_network.residual.")]:
        state[key.replace(".residual.", ".residual_next.")] = torch.rand_like(state[key])
    return state | {"_discriminator.fc.bias": torch.zeros(512)}


def make_samples() -> dict[str, Callable[[], Sample]]:
    """Every sample by name; the first of a family bears its name."""
    from meetmid.networks import (
        aggan,
        anyres,
        baselines,
        cyclegan,
        edsr,
        evolve,
        iresnet,
        lightcnn,
        midface,
        mobilefacenet,
        pcfh,
        rim,
        rim_recognition,
    )

    stages = {"blocks": (1, 2, 1, 1), "widths": (4, 8, 12, 16), "length": 16}
    light = (4, 6, 8, 4)
    found: dict[str, Callable[[], Sample]] = {}

    def add(
        name: str, build: Callable[..., nn.Module], options: dict[str, Any], *, family: str = "",
        change: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict, read: dict[str, Any] | None = None,
    ) -> None:
        def sample() -> Sample:
            network = randomise(build(**options))
            told = {key: value for key, value in {**options, **(read or {})}.items() if key != "classes"}
            return Sample(family or name, network, change(network.state_dict()), told)

        found[name] = sample

    def resnet(**options: Any) -> nn.Module:
        return rim_recognition.ResNet34(**options)

    def both(**options: Any) -> nn.Module:
        return rim_recognition.HRN(resnet(**options), resnet(**options))

    small = {"blocks": 2, "width": 8}
    plain = {"residual_scale": 1.0, "value_range": 255.0}
    add("edsr", edsr.EDSR, {"scale": 2, **small}, read=plain)
    for scale in (3, 4, 8):
        add(f"edsr-x{scale}", edsr.EDSR, {"scale": scale, **small}, family="edsr", read=plain)
        add(
            f"edsr-basicsr-x{scale}", edsr.EDSR, {"scale": scale, **small}, family="edsr-basicsr", change=to_basicsr,
            read={"residual_scale": 1.0},
        )
    add("edsr-basicsr", edsr.EDSR, {"scale": 2, **small}, change=to_basicsr, read={"residual_scale": 1.0})
    wide = {"scale": 2, "blocks": 1, "width": 256, "residual_scale": 0.1}
    add("edsr-wide", edsr.EDSR, wide, family="edsr", read={"value_range": 255.0})
    add("edsr-tanh", edsr.TanhEDSR, {"scale": 4, **small})
    add("edsr-tanh-x8", edsr.TanhEDSR, {"scale": 8, **small}, family="edsr-tanh")
    add("edsr-gated", edsr.GatedEDSR, {"scale": 4, **small})
    add("srgan", baselines.SRResNet, small)
    fhn = {"landmarks": 5, "parts": 3, "separate_priors": False, "passes": 1, "width": 4}
    add("rim-fhn", rim.FHN, fhn)
    add("rim-fhn-separate", rim.FHN, {**fhn, "separate_priors": True}, family="rim-fhn")
    add("iresnet", iresnet.IResNet, stages)
    ir = {"units": (1, 2, 1, 1), "widths": (16, 20, 24, 32), "size": 112, "squeeze_excite": False, "length": 16}
    add("evolve", evolve.EvolveIR, ir)
    add("evolve-se", evolve.EvolveIR, {**ir, "squeeze_excite": True}, family="evolve")
    add("evolve-224", evolve.EvolveIR, {**ir, "size": 224}, family="evolve")
    mbf = {"length": 16, "blocks": (1, 2, 1), "scale": 1}
    add("mobilefacenet", mobilefacenet.MobileFaceNet, mbf)
    add("mobilefacenet-x2", mobilefacenet.MobileFaceNet, {**mbf, "scale": 2}, family="mobilefacenet")
    add("mobilefacenet-classic", mobilefacenet.ClassicMobileFaceNet, {"width": 112})
    add("mobilefacenet-classic-96", mobilefacenet.ClassicMobileFaceNet, {"width": 96}, family="mobilefacenet-classic")
    for name, build, extra in (
        ("lightcnn-9", lightcnn.LightCNN9, {}), ("lightcnn-29", lightcnn.LightCNN29, {"version": 2}),
        ("lightcnn-29-v1", lightcnn.LightCNN29, {"version": 1}),
    ):
        family = name.removesuffix("-v1")
        add(name, build, {**extra, "widths": light}, family=family)
        add(f"{name}-head", build, {**extra, "widths": light, "classes": 11}, family=family)
    add("lightcnn-v4", lightcnn.LightCNNV4, {"widths": light})
    add("midface", midface.MidFace, {"length": 16, "widths": (4, 8, 12, 16), "depths": (1, 2, 1, 1)})
    add("rim-resnet34", resnet, stages)
    add("rim-hrn", both, stages)
    gan = {"attention": "cam", "blocks": 2, "full_size": None, "channels": 3, "width": 4}
    add("aggan", aggan.AGGAN, gan)
    add("aggan-se", aggan.AGGAN, {**gan, "attention": "se", "channels": 1}, family="aggan")
    add("aggan-full", aggan.AGGAN, {**gan, "full_size": 32}, family="aggan")
    add("aggan-se-full", aggan.AGGAN, {**gan, "attention": "se", "full_size": 32}, family="aggan")
    add("cyclegan", cyclegan.ResNetGenerator, {"blocks": 6, "channels": 3, "width": 4})
    add("cyclegan-9", cyclegan.ResNetGenerator, {"blocks": 9, "channels": 1, "width": 4}, family="cyclegan")
    add("pix2pix-unet", baselines.Pix2PixUNet, {"depth": 5, "channels": 3, "width": 4})
    add("pix2pix-unet-7", baselines.Pix2PixUNet, {"depth": 7, "channels": 1, "width": 2}, family="pix2pix-unet")
    for fuse in ("max", "concat"):
        options = {"fuse": fuse, "channels": 3, "width": 4, "blocks": 2}
        add("pcfh" if fuse == "max" else "pcfh-concat", pcfh.PCFHGenerator, options, family="pcfh")
    add("anyres", anyres.AnyRes, {"channels": 3, "widths": (8, 12, 16)})
    add("anyres-gray", anyres.AnyRes, {"channels": 1, "widths": (8, 12)}, family="anyres")
    return found


SAMPLES = make_samples()


@pytest.fixture
def sample() -> Callable[[str], Sample]:
    """``sample(name)``: a new checkpoint, the same each time."""

    def make(name: str) -> Sample:
        import torch

        torch.manual_seed(0)
        return SAMPLES[name]()

    return make


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """``saved(content, name)``: a file of torch.save."""

    def save(content: object, name: str = "net.pth", **options: Any) -> Path:
        import torch

        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``sample_name`` runs over all samples, ``family_name`` over the families."""
    if "sample_name" in metafunc.fixturenames:
        metafunc.parametrize("sample_name", list(SAMPLES))
    if "family_name" in metafunc.fixturenames:
        from meetmid.exporting.recognition import FAMILIES

        metafunc.parametrize("family_name", [family.name for family in FAMILIES])


@pytest.fixture
def rim_v1() -> Callable[..., dict[str, Tensor]]:
    return v1_state
