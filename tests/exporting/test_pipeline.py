"""Checkpoint -> recognition -> export -> ONNX -> pipeline, for the schemes of the four papers, against PyTorch compositions."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")

from meetmid.export import export_onnx  # noqa: E402
from meetmid.matcher import Matcher  # noqa: E402
from meetmid.networks.aggan import AGGAN  # noqa: E402
from meetmid.networks.anyres import AnyRes  # noqa: E402
from meetmid.networks.evolve import EvolveIR  # noqa: E402
from meetmid.networks.iresnet import IResNet  # noqa: E402
from meetmid.networks.lightcnn import LightCNN29  # noqa: E402
from meetmid.networks.pcfh import PCFHGenerator  # noqa: E402
from meetmid.networks.rim import FHN  # noqa: E402
from meetmid.networks.rim_recognition import HRN, ResNet34  # noqa: E402
from meetmid.resize import resize, to_float  # noqa: E402

WIDTHS = (8, 12, 16, 24)
ALONE = {
    "sigmas": (0.0,), "paths": "none", "resolution_matching": False, "centering": "none", "faces": "crop", "work_size": None,
    "device": "cpu", "threads": 1,
}


def random_network(network, seed):
    """Random statistics and slopes too, so that no layer is the identity by accident."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        for name, value in network.named_parameters():
            if value.ndim == 1 and not name.endswith("bias"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """``exported(network, name, **options)``: the folder of a network exported from its checkpoint."""
    root = tmp_path_factory.mktemp("exported")

    def export(network, name, **options):
        torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, root / "x.pth")
        return str(export_onnx(root / "x.pth", root / name, **options).path.parent)

    return export


@pytest.fixture(scope="module")
def matcher_network():
    return random_network(IResNet((1, 1, 1, 1), WIDTHS, 16), 1)


def pm1(pictures, size):
    return torch.from_numpy(np.stack([resize(to_float(p), size) for p in pictures]).transpose(0, 3, 1, 2)) * 2.0 - 1.0


def again(planes, size):
    """The library's resize on (N, 3, H, W) in [-1, 1]."""
    pictures = np.clip(planes.numpy().transpose(0, 2, 3, 1) / 2.0 + 0.5, 0.0, 1.0).astype(np.float32)
    resized = np.stack([resize(np.ascontiguousarray(p), size) for p in pictures]).transpose(0, 3, 1, 2)
    return torch.from_numpy(resized) * 2.0 - 1.0


def cosines(a, b):
    a, b = (t.double() / t.double().norm(dim=1, keepdim=True) for t in (a, b))
    return (a @ b.T).numpy()


@pytest.mark.parametrize(("network", "size"), [
    (AGGAN("cam", 1, None, 3, 4), 256), (AGGAN("se", 1, 32, 1, 4), 32), (AnyRes(1, (16, 24)), 128),
], ids=["aggan", "aggan+", "anyres"])
def test_thermal_probes_are_translated(exported, matcher_network, network, size, probes, portraits):
    network = random_network(network, 2)
    name = f"{type(network).__name__}{size}"
    folder = exported(network, name)
    matcher = exported(matcher_network, f"for-{name}")
    with Matcher("plain", matcher=matcher, hallucinator=folder, scales=(1,), lr_size=size, identity=False, **ALONE) as made:
        result = made.match(probes, portraits)
        found = result.explain(0, 0)
    x = pm1(probes, (size, size))
    if network.state_dict()[next(iter(network.state_dict()))].shape[1] == 1:
        x = (x * torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]).sum(1, keepdim=True)
    with torch.no_grad():
        out = network(x)
        image = out[0] if isinstance(out, tuple) else out
        want = cosines(matcher_network(again(image, (112, 112))), matcher_network(pm1(portraits, (112, 112))))
    np.testing.assert_allclose(result.scores, want, atol=2e-4)
    assert found.synthetic
    assert (found.heat is not None) == isinstance(network, AGGAN)


def test_pcfh_averages_the_original_and_the_generated_pair(exported, probes, portraits):
    generator = random_network(PCFHGenerator(144, width=4, blocks=1), 3)
    recogniser = random_network(LightCNN29(2, (4, 6, 8, 6), classes=3), 4)
    folder, matcher = exported(generator, "pcfh", size=144), exported(recogniser, "lightcnn")
    with Matcher("plain", matcher=matcher, hallucinator=folder, scales=(1,), lr_size=144, **ALONE) as made:
        assert (made.card.contract.channels, made.card.contract.alignment) == ("gray", "lightcnn-128")
        got = made.match(probes, portraits).scores
        translated = [picture for what, picture in made.show_probe(probes[0]) if what.synthetic]
    from meetmid.faces.alignment import TEMPLATES

    points = TEMPLATES["lightcnn-128"].scaled(144, 144)
    centres = torch.tensor(np.stack([*points[:3], points[3:].mean(axis=0)]), dtype=torch.float32).expand(len(probes), 4, 2)
    grey = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]

    def embed(planes):
        return recogniser(((planes + 1.0) / 2.0 * grey).sum(1, keepdim=True))

    with torch.no_grad():
        image = generator(pm1(probes, (144, 144)), centres)
        gallery = embed(pm1(portraits, (128, 128)))
        pair = [cosines(embed(planes), gallery) for planes in (pm1(probes, (128, 128)), again(image, (128, 128)))]
    np.testing.assert_allclose(got, (pair[0] + pair[1]) / 2.0, atol=2e-4)
    shown = np.clip(image[0].numpy().transpose(1, 2, 0) * 127.5 + 127.5, 0, 255)
    assert np.abs(translated[0] - shown).max() < 1.5


def test_rim_lifts_the_probe_and_keeps_the_teacher_for_the_gallery(exported, probes, portraits):
    fhn = random_network(FHN(5, width=8), 5)
    student = random_network(HRN(*(ResNet34((1, 1, 1, 1), WIDTHS, 16) for _ in range(2))), 6)
    teacher = random_network(EvolveIR((1, 1, 1, 1), WIDTHS, 112, False, 16), 7)
    options = {
        "matcher": exported(student, "hrn", space="rim"), "gallery_matcher": exported(teacher, "teacher", space="rim"),
        "hallucinator": exported(fhn, "fhn"), "scales": (8,), "lr_size": 28, "identity": False,
    }
    with Matcher("plain", **options, **ALONE) as made:
        got = made.match(probes, portraits).scores
        with pytest.raises(Exception, match="takes pictures of 28 x 28 px"):
            Matcher("plain", **{**options, "lr_size": 24}, **ALONE)
    small = (0.25 * resize(to_float(p), (28, 28)) + 0.375 for p in probes)  # away from 0 and 1, where resizing clips
    enlarged = np.stack([4.0 * (resize(p, (224, 224)) - 0.375) for p in small])
    with torch.no_grad():
        sr = fhn(torch.from_numpy(enlarged.transpose(0, 3, 1, 2)) * 2.0 - 1.0)[0]
        want = cosines(student(again(sr, (112, 112))), teacher(pm1(portraits, (112, 112))))
    np.testing.assert_allclose(got, want, atol=2e-4)


def test_a_translated_probe_is_one_more_hypothesis_of_the_fused_scheme(exported, matcher_network, probes, portraits):
    folder = exported(random_network(AnyRes(3, (16, 24)), 8), "more")
    matcher = exported(matcher_network, "more-matcher")
    options = {**ALONE, "paths": (("gblur",), ("gauss_noise",)), "sigmas": (0.0, 0.8)}
    with Matcher("plain", matcher=matcher, hallucinator=folder, scales=(1,), lr_size=128, **options) as made:
        result = made.match(probes, portraits)
        shares = result.explain(1, 1).probe_shares
    assert np.isfinite(result.scores).all()
    assert {what.scale for what, _ in shares} == {0, 1}
    assert sum(share for _, share in shares) == pytest.approx(1)
