"""Families, options and weights read off checkpoints; what fits no family is refused with the keys that do not fit."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch", reason="exporting needs torch (extra: export)")

from meetmid.errors import ConfigError, ModelError  # noqa: E402
from meetmid.exporting.checkpoints import load_checkpoint  # noqa: E402
from meetmid.exporting.recognition import FAMILIES, recognise  # noqa: E402
from meetmid.networks import edsr, iresnet, lightcnn, rim  # noqa: E402

NAMES = [family.name for family in FAMILIES]


@pytest.fixture
def told(saved):
    """``told(state, **options)``: what is recognised in a file of this state."""

    def recognised(state, **options):
        return recognise(load_checkpoint(saved(state)), **options)

    return recognised


def weights(network):
    return {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}


def assert_same_weights(found, wanted) -> None:
    """Bit for bit, behind an adapter or not, without what only training needs."""
    wanted = {key: value for key, value in weights(wanted).items() if not key.startswith("fc2.")}
    got = weights(found)
    if got.keys() != wanted.keys():
        got = {key.removeprefix("network."): value for key, value in got.items()}
    assert got.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(got[key], value), key


def test_every_family_has_a_sample(family_name, sample) -> None:
    assert sample(family_name).family == family_name


def test_family_options_and_weights_are_read_off(sample_name, sample, saved) -> None:
    """Under a nested wrapper and a prefix."""
    made = sample(sample_name)
    path = saved({"epoch": 9, "model": {"state_dict": {f"module.{key}": value for key, value in made.state.items()}}})
    found = recognise(load_checkpoint(path))
    assert found.family.name == made.family
    assert found.options == made.options
    assert_same_weights(found.network, made.network)
    assert not found.network.training
    assert not any(parameter.requires_grad for parameter in found.network.parameters())


def test_no_other_family_accepts_it(sample_name, sample, saved) -> None:
    made = sample(sample_name)
    checkpoint = load_checkpoint(saved(made.state))
    for name in NAMES:
        if name == made.family:
            assert recognise(checkpoint, arch=name).family.name == name
        else:
            with pytest.raises(ModelError, match=rf"Closest: {name}: \d+ "):
                recognise(checkpoint, arch=name)


def test_contracts_follow_the_options(sample, told) -> None:
    contracts = {name: told(sample(name).state).contract for name in (
        "edsr-x3", "edsr-tanh-x8", "srgan", "rim-fhn", "evolve-224", "mobilefacenet-classic-96", "lightcnn-9", "lightcnn-v4",
        "aggan-se", "aggan-full", "pix2pix-unet-7", "cyclegan", "anyres-gray", "pcfh",
    )}
    assert [contracts[name].scale for name in ("edsr-x3", "edsr-tanh-x8", "srgan", "rim-fhn", "cyclegan")] == [3, 8, 4, 8, 1]
    assert contracts["edsr-x3"].std == (1.0,) * 3
    assert contracts["srgan"].std == (255.0,) * 3
    assert contracts["edsr-tanh-x8"].mean == (127.5,) * 3
    sizes = {name: contract.size for name, contract in contracts.items() if contract.size != (0, 0)}
    assert sizes == {
        "rim-fhn": (28, 28), "evolve-224": (224, 224), "mobilefacenet-classic-96": (112, 96), "lightcnn-9": (128, 128),
        "lightcnn-v4": (128, 128), "aggan-se": (256, 256), "aggan-full": (32, 32), "pix2pix-unet-7": (128, 128),
        "cyclegan": (256, 256), "anyres-gray": (128, 128), "pcfh": (256, 256),
    }
    assert {name for name, contract in contracts.items() if contract.channels == "gray"} == {
        "lightcnn-9", "aggan-se", "pix2pix-unet-7", "anyres-gray"
    }
    assert contracts["lightcnn-v4"].channels == "bgr"
    assert contracts["mobilefacenet-classic-96"].alignment == "arcface-96x112"
    assert contracts["lightcnn-9"].alignment == "lightcnn-128"


def test_outputs_of_generators_with_several(sample, told) -> None:
    assert told(sample("aggan").state).outputs == ("image", "heat", "logits")
    assert told(sample("aggan-se").state).outputs == ("image", "heat")
    assert told(sample("rim-fhn").state).outputs == ("sr", "coarse", "landmarks", "parsing")
    assert not told(sample("aggan-full").state).any_size
    assert told(sample("aggan").state).any_size


def test_edsr_without_mean_shift_computes_without_it(sample, told) -> None:
    made = sample("edsr")
    bare = {key: value for key, value in made.state.items() if "_mean" not in key}
    found = told(bare)
    x = torch.rand(1, 3, 6, 5) * 255
    network = edsr.EDSR(2, 2, 8)
    network.load_state_dict(made.state)
    for shift in (network.sub_mean, network.add_mean):
        shift.bias.data.zero_()
    assert torch.equal(found.network(x), network(x))
    assert not torch.allclose(found.network(x), made.network(x), rtol=1e-3)


@pytest.mark.parametrize("key", ["sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias"])
def test_half_a_mean_shift_is_refused(sample, told, key) -> None:
    state = sample("edsr").state
    del state[key]
    with pytest.raises(ModelError, match=rf"edsr: 1 missing \({key}\)"):
        told(state)


def test_the_range_of_edsr_shows_in_its_mean_shift(sample, told) -> None:
    state = sample("edsr").state
    assert told(state).contract.std == (1.0,) * 3
    unit = {key: value / 255 if key in ("sub_mean.bias", "add_mean.bias") else value for key, value in state.items()}
    assert told(unit).options["value_range"] == 1.0
    assert told(unit).contract.std == (255.0,) * 3
    bare = {key: value for key, value in state.items() if "_mean" not in key}
    assert told(bare).contract.std == (1.0,) * 3
    assert told(bare, value_range=1).contract.std == (255.0,) * 3


def test_residuals_are_scaled_by_the_width_unless_told(sample, told) -> None:
    assert told(sample("edsr-wide").state).network.body[0].residual_scale == 0.1
    assert told(sample("edsr").state).network.body[0].residual_scale == 1.0
    assert told(sample("edsr").state, residual_scale=0.1).network.body[0].residual_scale == 0.1


@pytest.mark.parametrize("buffer", [False, True])
def test_basicsr_computes_what_edsr_pytorch_does(sample, told, buffer) -> None:
    made = sample("edsr-basicsr-x4")
    state = dict(made.state)
    if buffer:
        state["mean"] = torch.tensor(edsr.RGB_MEAN).view(1, 3, 1, 1)
    x = torch.rand(2, 3, 7, 9) * 255
    assert torch.equal(told(state).network(x), made.network(x))
    state["mean"] = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    assert not torch.allclose(told(state).network(x), made.network(x), rtol=1e-3)


@pytest.mark.parametrize(("depth", "units"), [(18, 8), (34, 16), (50, 24), (100, 49), (200, 98)])
def test_depths_of_iresnets(told, depth, units) -> None:
    network = iresnet.IResNet(iresnet.DEPTHS[depth], widths=(2, 3, 4, 5), length=6)
    found = told(network.state_dict())
    assert found.options["blocks"] == iresnet.DEPTHS[depth]
    assert sum(found.options["blocks"]) == units


@pytest.mark.parametrize("name", ["lightcnn-9", "lightcnn-29", "lightcnn-29-v1"])
def test_the_head_of_a_lightcnn_does_not_matter(sample, told, name) -> None:
    made = sample(f"{name}-head")
    assert "fc2.weight" in made.state
    found = told(made.state).network
    x = torch.rand(1, 1, 128, 128)
    assert torch.equal(found(x), made.network(x))
    assert not hasattr(found, "fc2")


def test_names_of_pix2pix_are_no_prefix(sample, told) -> None:
    """``model.`` belongs to the network here, and is one more wrapper where it comes twice."""
    for name in ("cyclegan", "pix2pix-unet"):
        state = sample(name).state
        assert all(key.startswith("model.") for key in state)
        for prefix in ("", "module.", "model.", "model.module."):
            assert told({prefix + key: value for key, value in state.items()}).family.name == name


def test_old_and_dropout_files_of_cyclegan(sample, told) -> None:
    made = sample("cyclegan-9")
    old = dict(made.state)
    for key, value in made.state.items():
        if key.endswith("bias") and "conv_block" in key:
            norm = re.sub(r"(\d+)\.bias$", lambda match: f"{int(match[1]) + 1}", key)
            old |= {f"{norm}.running_mean": torch.rand(len(value)), f"{norm}.running_var": torch.rand(len(value))}
            old[f"{norm}.num_batches_tracked"] = torch.tensor(5)
    dropout = {re.sub(r"conv_block\.5\.", "conv_block.6.", key): value for key, value in made.state.items()}
    for state in (old, dropout):
        assert len(state.keys() | made.state.keys()) > len(made.state)
        found = told(state)
        assert found.options == {"blocks": 9, "channels": 1, "width": 4}
        assert_same_weights(found.network, made.network)


def test_a_batch_normalised_cyclegan_is_refused(sample, told) -> None:
    state = sample("cyclegan").state
    with pytest.raises(ModelError, match=r"cyclegan: 2 unexpected \(model\.2\.bias, model\.2\.weight\)"):
        told({**state, "model.2.weight": torch.ones(4), "model.2.bias": torch.zeros(4)})


def test_the_first_public_files_of_rim(told, rim_v1) -> None:
    state = rim_v1(4, 97, 11)
    found = told({"state_dict": {f"module.{key}": value for key, value in state.items()}})
    assert found.family.name == "rim-fhn"
    assert found.options == {"landmarks": 97, "parts": 11, "separate_priors": False, "passes": 3, "width": 4}
    network = rim.FHN(97, passes=3, width=4).eval()
    network.load_state_dict(rim.from_v1(state))
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        for got, wanted in zip(found.network.network(x), network(x), strict=True):
            assert torch.equal(got, wanted)


@pytest.mark.parametrize("key", [
    "_fine_sr_encoder.bn_mid.weight", "_fine_sr_decoder.relu.weight", "_fine_sr_decoder.conv_out.bias",
    "_coarse_sr_network.residual.0.conv1.weight",
])
def test_a_first_rim_file_with_a_key_missing_is_refused(told, rim_v1, key) -> None:
    state = rim_v1(4, 5, 3)
    del state[key]
    with pytest.raises(ModelError, match=r"rim-fhn: \d+ missing \("):
        told(state)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_rim_file_with_a_key_missing_is_no_first_one(sample, told, part) -> None:
    state = sample("rim-fhn").state
    del state[f"_fine_sr_{part}.bn_out.weight"]
    with pytest.raises(ModelError, match=rf"rim-fhn: 1 missing \(network\._fine_sr_{part}\.bn_out\.weight\)"):
        told(state)


def test_parts_of_rims_second_line_are_named(told) -> None:
    state = {"model.1.weight": torch.rand(64, 3, 7, 7), "model.5.weight": torch.rand(128, 64, 3, 3)}
    for content in (state, {f"module.{key}": value for key, value in state.items()}):
        with pytest.raises(ModelError, match="a part of RIM's second public code line"):
            told(content)


def test_the_sum_of_student_and_assistant(sample, told) -> None:
    made = sample("rim-hrn")
    x = torch.rand(2, 3, 112, 112)
    assert torch.equal(told(made.state).network(x), made.network.student(x) + made.network.assistant(x))
    assert not torch.allclose(told(made.state, sum_at="map").network(x), made.network(x), rtol=1e-3)
    with pytest.raises(ConfigError, match="sum_at must be 'embedding' or 'map', got 'end'"):
        told(made.state, sum_at="end")


def test_shuffled_keys_are_refused(sample_name, sample, told) -> None:
    """The tensors of a checkpoint under each other's names."""
    state = {key: value for key, value in sample(sample_name).state.items() if value.is_floating_point()}
    keys = list(state)
    with pytest.raises(ModelError, match="Closest: ") as caught:
        told(dict(zip(keys, [*(state[key] for key in keys[1:]), state[keys[0]]], strict=True)))
    assert "net.pth" in str(caught.value)


def test_half_a_checkpoint_is_refused(sample_name, sample, told) -> None:
    made = sample(sample_name)
    keys = list(made.state)
    for part in (keys[: len(keys) // 2], keys[len(keys) // 2 :], keys[::2], keys[1:]):
        with pytest.raises(ModelError, match="Closest: "):
            told({key: made.state[key] for key in part})


def test_one_key_more_is_refused_and_named(sample_name, sample, told) -> None:
    made = sample(sample_name)
    family = made.family
    with pytest.raises(ModelError, match=rf"Closest: {family}: 1 unexpected \((network\.)?layer9\.extra\.weight\)"):
        told({**made.state, "layer9.extra.weight": torch.ones(3)})


def test_one_key_less_is_refused(sample, told, family_name) -> None:
    """Each of an evenly spread choice of keys; heads that only training needs are not among them."""
    made = sample(family_name)
    keys = [key for key in made.state if not key.endswith("num_batches_tracked")]
    for key in keys[:: max(1, len(keys) // 6)]:
        with pytest.raises(ModelError, match="Closest: ") as caught:
            told({other: value for other, value in made.state.items() if other != key})
        assert family_name in str(caught.value)


def test_one_key_of_another_shape_is_refused_and_named(sample, told) -> None:
    state = sample("iresnet").state
    state["layer2.1.conv2.weight"] = torch.rand(8, 8, 1, 1)
    told_of = r"iresnet: 1 of another shape \(layer2\.1\.conv2\.weight \(8, 8, 1, 1\) for \(8, 8, 3, 3\)\)"
    with pytest.raises(ModelError, match=told_of):
        told(state)


def test_the_message_lists_the_closest_families_first(sample, told) -> None:
    state = sample("iresnet").state
    renamed = {key.replace("layer3", "stage3"): value for key, value in state.items()}
    with pytest.raises(ModelError) as caught:
        told(renamed)
    closest = str(caught.value).split("Closest: ")[1].split(" | ")
    assert len(closest) == 3
    assert closest[0].startswith("iresnet: ")
    assert "unexpected (stageN.N.bnN.bias, " in closest[0]
    with pytest.raises(ModelError, match="got 2 tensors that fit none"):
        told({"a": torch.ones(2), "b": torch.ones(2)})


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_shapes_that_no_network_has_are_refused(sample, told) -> None:
    for name, key, value in (
        ("edsr", "head.0.weight", torch.rand(3)), ("evolve", "output_layer.3.weight", torch.rand(16, 100)),
        ("mobilefacenet", "layers.0.layers.0.weight", torch.rand(8, 3, 3, 3)), ("aggan", "FC.0.weight", torch.rand(3, 0)),
        ("lightcnn-29", "conv1.filter.weight", torch.tensor(1.0)), ("edsr-basicsr", "mean", torch.rand(5)),
        ("iresnet", "fc.weight", torch.rand(16, 7)), ("pix2pix-unet", "model.model.0.weight", torch.rand(4)),
    ):
        with pytest.raises(ModelError, match="Closest: "):
            told({**sample(name).state, key: value})


def test_unknown_families_and_options_are_refused(sample, told) -> None:
    made = sample("edsr")
    with pytest.raises(ConfigError, match=r"arch expects one of edsr, .*anyres, got 'edsr2'"):
        told(made.state, arch="edsr2")
    with pytest.raises(ConfigError, match=r"'edsr' takes the options blocks, .*value_range, width, got depth"):
        told(made.state, depth=3)
    with pytest.raises(ConfigError, match=r"'edsr' cannot be built with .*scale must be 2, 3, 4 or 8, got 5"):
        told(made.state, scale=5)
    with pytest.raises(ConfigError, match="cannot be built with"):
        told(made.state, blocks="many")
    with pytest.raises(ConfigError, match="value_range must be 1 or 255, got 2"):
        told(made.state, value_range=2)
    with pytest.raises(ModelError, match=r"edsr: \d+ missing"):
        told(made.state, blocks=3)
    with pytest.raises(ConfigError, match="cannot be built with"):
        told(sample("pcfh").state, template="nobody")
    assert told(sample("pcfh").state, size=144).contract.size == (144, 144)
    assert told(sample("rim-fhn").state, side=12).contract.size == (12, 12)


def test_lightcnn_versions_pool_differently(sample, told) -> None:
    for name, kind in (("lightcnn-29", lightcnn.MaxPlusAverage), ("lightcnn-29-v1", torch.nn.MaxPool2d)):
        assert type(told(sample(name).state).network.pool) is kind
