"""Reading checkpoints: what is accepted, what is refused, and that nothing in a file is ever run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting needs torch (extra: export)")
save_file = pytest.importorskip("safetensors.torch", reason="exporting needs safetensors (extra: export)").save_file

from meetmid.errors import ModelError  # noqa: E402
from meetmid.exporting.checkpoints import PARTS, WRAPPERS, load_checkpoint  # noqa: E402
from meetmid.runtime.cards import file_sha256  # noqa: E402


@pytest.fixture
def state():
    return {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3), "b.running_var": torch.rand(100)}


def same(found, wanted) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)


def refused(path: Path, message: str, **options) -> str:
    with pytest.raises(ModelError, match=message) as caught:
        load_checkpoint(path, **options)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value), "torch's advice to load unsafely is not passed on"
    return str(caught.value)


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.pth.tar", "net.pkl", "net.PTH", "net"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_ending_and_both_formats_of_torch(saved, state, name, zipped) -> None:
    path = saved(state, name, _use_new_zipfile_serialization=zipped)
    found = load_checkpoint(path)
    assert same(found.state, state)
    assert (found.path, found.part, found.sha256) == (path, "", file_sha256(path))


def test_safetensors(tmp_path: Path, state) -> None:
    save_file(state, tmp_path / "net.safetensors")
    assert same(load_checkpoint(tmp_path / "net.safetensors").state, state)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper(saved, state, wrapper) -> None:
    found = load_checkpoint(saved({"epoch": 3, wrapper: state, "optimizer": {"lr": 0.1}}))
    assert same(found.state, state)
    assert found.part == wrapper


def test_wrappers_lie_in_each_other_and_beside_tensors(saved, state) -> None:
    nested = {"model": {"state_dict": {"net": state}, "epoch": 1}, "best_acc1": torch.tensor(93.1)}
    found = load_checkpoint(saved(nested))
    assert same(found.state, state)
    assert found.part == "model.state_dict.net"


def test_the_first_wrapper_counts_and_part_names_another(saved, state) -> None:
    average = {key: value + 1 for key, value in state.items()}
    path = saved({"params_ema": average, "params": state})
    assert same(load_checkpoint(path).state, state)
    assert same(load_checkpoint(path, part="params_ema").state, average)


def test_a_file_of_several_networks(saved, state) -> None:
    networks = {part: {key: value + k for key, value in state.items()} for k, part in enumerate(PARTS)}
    path = saved(networks)
    assert same(load_checkpoint(path).state, networks["genA2B"])
    for part in PARTS:
        found = load_checkpoint(path, part=part)
        assert same(found.state, networks[part])
        assert found.part == part
    assert same(load_checkpoint(saved({"model": networks}, "w.pth"), part="disLB").state, networks["disLB"])
    assert "genA2B" in refused(path, "expected a part 'genC'", part="genC")
    refused(saved(state, "plain.pth"), "expected a part 'genA2B'", part="genA2B")


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "backbone.", "model.", "module._orig_mod.", "module.module.", "model.backbone.module."]
)
def test_shared_prefixes_are_taken_away_one_by_one(saved, state, prefix) -> None:
    found = load_checkpoint(saved({prefix + key: value for key, value in state.items()}))
    readings = list(found.readings())
    assert len(readings) == 1 + prefix.count(".")
    assert readings[0].keys() == {prefix + key for key in state}
    assert same(readings[-1], state)


def test_a_prefix_that_one_key_lacks_stays(saved, state) -> None:
    mixed = {f"module.{key}": value for key, value in state.items()} | {"head": torch.zeros(1)}
    assert [reading.keys() for reading in load_checkpoint(saved(mixed)).readings()] == [mixed.keys()]


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64", "float32"])
def test_weights_become_single_precision(saved, state, kind) -> None:
    stored = {key: value.to(getattr(torch, kind)) for key, value in state.items()}
    found = load_checkpoint(saved(stored)).state
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert same(found, {key: value.float() for key, value in stored.items()})


def test_parameters_are_weights_and_counters_are_not(saved) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    path = saved({**network.state_dict(), "own": torch.nn.Parameter(torch.ones(2))})
    found = load_checkpoint(path).state
    assert "1.running_mean" in found
    assert not any("num_batches_tracked" in key for key in found)
    assert type(found["own"]) is torch.Tensor


class Runs:
    """A pickle that runs a command when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("place", ["value", "top", "key"])
def test_a_malicious_pickle_is_not_run(tmp_path: Path, state, place, protocol) -> None:
    marker = tmp_path / "ran"
    evil = Runs(marker)
    content = {"value": {"state_dict": {**state, "x": evil}}, "top": evil, "key": {"model": state, "optimizer": [evil]}}[place]
    path = tmp_path / "evil.pth"
    torch.save(content, path, pickle_protocol=protocol)
    if protocol == 2:  # torch's own; of others the safe reader refuses the form first
        assert "system" in refused(path, "needs to run pickled code")
    else:
        refused(path, "expected")
    path = tmp_path / "legacy.pth"
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    refused(path, "expected")
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(evil, protocol=protocol))
    refused(plain, "expected")
    assert not marker.exists()
    pickle.loads(plain.read_bytes())
    assert marker.exists(), "the file was harmless, so nothing was tested"


def test_a_pickled_module_is_refused(saved) -> None:
    for name, zipped in (("a.pth", True), ("b.pth", False)):
        path = saved(torch.nn.Linear(2, 2), name, _use_new_zipfile_serialization=zipped)
        assert "torch.nn.modules.linear.Linear" in refused(path, r"save the state dict alone with torch\.save")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_file_is_refused(saved, state, zipped, share) -> None:
    path = saved({"state_dict": state}, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(len(whole) * share))])
    refused(path, "expected a")
    path.write_bytes(whole[:-1])
    refused(path, "damaged file")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_truncated_safetensors_are_refused(tmp_path: Path, state, share) -> None:
    path = tmp_path / "net.safetensors"
    save_file(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "damaged file")


def test_flipped_bytes_are_refused_or_read_as_finite_weights(saved, state) -> None:
    """A damaged weight cannot be told from a trained one; anything else ends in ModelError."""
    path = saved(state)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng, refusals = np.random.default_rng(0), 0
    for _ in range(60):
        broken = whole.copy()
        broken[rng.integers(0, len(whole), 20)] ^= 255
        path.write_bytes(broken.tobytes())
        try:
            found = load_checkpoint(path)
        except ModelError:
            refusals += 1
        else:
            assert all(torch.isfinite(value).all() for value in found.state.values())
    assert refusals > 30


@pytest.mark.parametrize("ending", ["pth", "pkl", "safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"P", b"this is a letter, not a network", b"<!DOCTYPE html><html></html>", bytes(4000)],
    ids=["empty", "one byte", "text", "page", "zeros"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"net.{ending}"
    path.write_bytes(content)
    refused(path, "damaged file")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(saved, state, value) -> None:
    state["a.bias"][1] = value
    refused(saved(state), r"expected finite float32 weights.*'a\.bias'")


def test_weights_beyond_single_precision_are_refused(saved) -> None:
    refused(saved({"w": torch.tensor([1e300], dtype=torch.float64)}), "expected finite float32 weights.*'w'")


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3).to_sparse(), torch.ones(3, dtype=torch.complex64), torch.ones(3, dtype=torch.int8),
        torch.empty(3, device="meta"), "text", [1.0, 2.0], None,
    ],
    ids=["sparse", "complex", "int8", "without data", "text", "list", "none"],
)
def test_weights_of_another_kind_are_refused(saved, state, value) -> None:
    refused(saved({**state, "odd": value}), "expected a dense tensor of real floating-point numbers under 'odd', got")


@pytest.mark.filterwarnings("ignore")
def test_compressed_rows_and_quantised_weights_are_refused(saved, state) -> None:
    for value in (torch.eye(3).to_sparse_csr(), torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)):
        refused(saved({**state, "odd": value}), "expected a dense tensor of real floating-point numbers under 'odd', got")


@pytest.mark.parametrize(
    "content",
    [
        {}, {"state_dict": {}}, {"epoch": 3, "lr": 0.1}, {"model": {"epoch": 3}},
        {"net": {"n.num_batches_tracked": torch.tensor(3)}},
    ],
)
def test_files_without_weights_are_refused(saved, content) -> None:
    refused(saved(content), "expected weights")


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], {3: torch.ones(3)}, {"model": [1]}, 5])
def test_what_is_no_dictionary_by_name_is_refused(saved, content) -> None:
    refused(saved(content), "expected")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.pth", "expected a checkpoint file, found none")
    refused(tmp_path, "expected a checkpoint file, found none")


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_refused(saved, state) -> None:
    path = saved(state)
    path.chmod(0)
    refused(path, "cannot be read")


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_few_bytes_that_claim_a_terabyte_are_refused(saved, kind) -> None:
    bomb = torch.zeros(1, dtype=getattr(torch, kind)).expand(1 << 40)
    refused(saved({"w": bomb}), "bytes that claim 1099511627776 weights")
    shared = torch.zeros(1000)
    refused(saved({f"w{k}": shared for k in range(500)}), "bytes that claim 500000 weights")


def rewritten(path: Path, pickled: bytes | None = None, compression: int = zipfile.ZIP_STORED) -> Path:
    """The archive at ``path`` with another pickle or compression."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in entries.items():
            archive.writestr(name, pickled if pickled is not None and name.endswith("data.pkl") else value)
    return path


def test_an_archive_that_expands_is_refused(saved) -> None:
    path = rewritten(saved({"w": torch.zeros(1_000_000)}), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    refused(path, "expands to 4000")


@pytest.mark.parametrize("depth", [9, 1000, 100_000])
def test_dictionaries_without_end_are_refused(saved, state, depth) -> None:
    deep = b"\x80\x02" + b"}X\x05\x00\x00\x00model" * depth + b"}" + b"s" * depth + b"."
    refused(rewritten(saved(state), deep), "expected weights within 8 dictionaries, got more")


def test_a_dictionary_inside_itself_is_refused(saved) -> None:
    content: dict = {"epoch": 1}
    content["model"] = content
    refused(saved(content), "expected weights within 8 dictionaries, got more")


@pytest.mark.parametrize(
    "opcode", [b"X\xff\xff\xff\x7fabc.", b"\x8a\xff\x01.", b"\x8b\xff\xff\xff\x7f\x01.", b"T\xff\xff\xff\x7fa."]
)
def test_lengths_that_the_file_does_not_hold_are_refused(saved, state, opcode) -> None:
    refused(rewritten(saved(state), b"\x80\x02" + opcode), "expected")
