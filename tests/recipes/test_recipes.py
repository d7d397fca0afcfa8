"""Each recipe trains on tiny pictures, resumes to the same bits and writes its sheet; readers pair what they say."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

import torch
from meetmid.models.recipes import pairs, spectra
from meetmid.models.recipes.batches import Augmentation, Batch, smoothed
from meetmid.models.recipes.perceptual import VGG19Features
from meetmid.models.recipes.pool import Pool
from meetmid.models.recipes.regions import part_centres, region_labels
from meetmid.models.recipes.translation import matching_figures, steps_of

from meetmid.exporting.checkpoints import load_checkpoint
from meetmid.exporting.recognition import recognise

MODELS = Path(pairs.__file__).parents[1]
EXPORTED = {"anyres": "anyres", "aggan": "aggan", "pcfh": "pcfh", "rim_fhn": "rim-fhn", "rim_hrn": "rim-hrn"}
RECIPES = {
    "anyres": ("anyres", 64, ["--widths", "16", "16", "16", "--critic-width", "4"]),
    "aggan": ("aggan", 64, ["--width", "4", "--critic-width", "4", "--blocks", "1", "--layers", "5", "4"]),
    "aggan-se": (
        "aggan", 64, ["--attention", "se", "--width", "4", "--critic-width", "16", "--blocks", "1", "--layers", "5", "4"]
    ),
    "pcfh": ("pcfh", 144, ["--width", "4", "--critic-width", "4", "--blocks", "1"]),
    "pcfh-lsgan": (
        "pcfh", 144, ["--width", "4", "--critic-width", "4", "--blocks", "1", "--adversary", "lsgan", "--attend-both"]
    ),
    "rim_fhn": ("rim_fhn", 64, ["--width", "4", "--embedding", "8"]),
    "pcfh-pool": ("pcfh", 144, ["--width", "4", "--critic-width", "4", "--blocks", "1", "--adversary", "lsgan", "--pool", "2"]),
    "rim_joint": ("rim_joint", 64, ["--embedding", "8"]),
    "rim_hrn": ("rim_hrn", 64, ["--blocks", "1", "1", "1", "1", "--widths", "32", "64", "128", "256", "--length", "256"]),
}


@pytest.fixture
def folders(tmp_path: Path, face) -> tuple[Path, Path]:
    """Five people with two pictures each, in two folders of the same paths."""
    source, target = tmp_path / "source", tmp_path / "target"
    for person in range(5):
        for k in range(2):
            crop = face(person, 72)
            noisy = np.clip(crop + np.random.default_rng((person, k)).normal(0, 8, crop.shape), 0, 255).astype(np.uint8)
            made, _ = spectra.thermal(noisy, pairs.template_points(72).astype(np.float64), (person, k))
            for folder, picture in ((source, made), (target, noisy)):
                path = folder / f"P{person}" / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture[..., ::-1])
    return source, target


def train(
    monkeypatch: pytest.MonkeyPatch, recipe: str, folders: tuple[Path, Path], matcher: Path, out: Path, steps: int, *more: str
) -> dict:
    family, size, options = RECIPES[recipe]
    if family not in ("rim_hrn", "rim_joint"):
        options = [*options, "--matcher", str(matcher)]
    arguments = [
        "--out", str(out), "--source", str(folders[0]), "--target", str(folders[1]), "--validation-share", "0.4",
        "--size", str(size), "--batch", "2", "--every", "1", "--steps", str(steps), *options, *more,
    ]
    monkeypatch.setattr(sys, "argv", [str(MODELS / family / "train.py"), *arguments])
    runpy.run_path(str(MODELS / family / "train.py"), run_name="__main__")
    return torch.load(out / "checkpoint.pt", weights_only=True)


@pytest.mark.parametrize("recipe", sorted(RECIPES.keys() - {"rim_joint"}))
def test_a_recipe_resumes_to_the_same_bits(
    recipe: str, folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meetmid.models.recipes.translation.Recipe.decays", False)
    whole = train(monkeypatch, recipe, folders, tiny.path.parent, tmp_path / "whole", 2)
    train(monkeypatch, recipe, folders, tiny.path.parent, tmp_path / "parts", 1)
    resumed = train(monkeypatch, recipe, folders, tiny.path.parent, tmp_path / "parts", 2)
    assert resumed["step"] == whole["step"] == 2
    assert whole["model"].keys() == resumed["model"].keys()
    for name, value in whole["model"].items():
        assert torch.isfinite(value).all(), name
        assert torch.equal(value, resumed["model"][name]), name
    sheet = cv2.imread(str(tmp_path / "whole" / "samples.png"))
    assert sheet.std() > 1
    log = (tmp_path / "whole" / "train.log").read_text(encoding="utf-8")
    assert "6 pairs of folders; before: " in log
    assert "simulated" not in log
    history = tomllib.loads((tmp_path / "whole" / "training.toml").read_text(encoding="utf-8"))
    assert (history["recipe"], history["people"]) == (f"models/{RECIPES[recipe][0]}/train.py", 3)
    assert "simulated" not in history["spectra"]
    known = recognise(load_checkpoint(tmp_path / "whole" / "weights.pt"))
    assert known.family.name == EXPORTED[RECIPES[recipe][0]]


def test_rim_trains_part_by_part_and_then_together(
    folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go(recipe: str, *more: str) -> dict:
        return train(monkeypatch, recipe, folders, tiny.path.parent, tmp_path / recipe, 1, *more)

    go("rim_fhn")
    fhn, hrn = tmp_path / "rim_fhn" / "weights.pt", tmp_path / "rim_hrn" / "weights.pt"
    go("rim_hrn", "--fhn", str(fhn))
    state = go("rim_joint", "--fhn", str(fhn), "--hrn", str(hrn))["model"]
    for part, start in (("fhn", fhn), ("hrn", hrn)):
        before, after = (torch.load(path, weights_only=True) for path in (start, tmp_path / "rim_joint" / f"{part}.pt"))
        assert before.keys() == after.keys()
        assert all(not torch.equal(before[k], after[k]) for k in before if k.endswith("conv1.weight")), part
        assert recognise(load_checkpoint(tmp_path / "rim_joint" / f"{part}.pt")).family.name == f"rim-{part}"
    assert any(name.startswith("fhn.critic") for name in state)


def test_hrn_sees_what_fhn_makes(folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(monkeypatch, "rim_fhn", folders, tiny.path.parent, tmp_path / "fhn", 1)
    plain = train(monkeypatch, "rim_hrn", folders, tiny.path.parent, tmp_path / "plain", 1)
    lifted = train(
        monkeypatch, "rim_hrn", folders, tiny.path.parent, tmp_path / "lifted", 1, "--fhn", str(tmp_path / "fhn" / "weights.pt")
    )
    key = "hrn.student.conv1.weight"
    assert not torch.equal(plain["model"][key], lifted["model"][key])


@pytest.mark.parametrize("recipe", ["anyres", "pcfh", "rim_fhn"])
def test_any_number_of_landmarks_trains(
    recipe: str, folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    header = "file," + ",".join(f"x{k},y{k}" for k in range(68)) + "\n"
    for folder in folders:
        rows = [f"P{p}/{k}.png,{','.join(f'{v:.2f}' for v in rng.uniform(8, 64, 136))}" for p in range(5) for k in range(2)]
        (folder / "points.csv").write_text(header + "\n".join(rows) + "\n")
    more = ["--parts", "36,37,38,39,40,41;42,43,44,45,46,47;30;48,54"] + (["--landmarks", "68"] if recipe == "rim_fhn" else [])
    with pytest.raises(SystemExit, match="order of 68 landmarks, got 5 numbers"):
        train(monkeypatch, recipe, folders, tiny.path.parent, tmp_path / "five", 1, *more)
    order = [*range(16, -1, -1), *range(17, 68)]
    for mirror in ("", ",".join(map(str, order))):
        out = tmp_path / f"run{len(mirror)}"
        state = train(monkeypatch, recipe, folders, tiny.path.parent, out, 1, *more, "--mirror", mirror)
        assert state["step"] == 1
    if recipe == "rim_fhn":
        known = recognise(load_checkpoint(tmp_path / "run0" / "weights.pt"))
        assert known.options["landmarks"] == 68


def test_a_witness_cannot_judge_templates(folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(SystemExit, match="judges translated pictures"):
        train(monkeypatch, "rim_hrn", folders, tiny.path.parent, tmp_path / "run", 1, "--witness", str(tiny.path))


def test_anyres_takes_vgg_and_attribute_scorers(
    folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    vgg = VGG19Features()
    torch.save({**vgg.state_dict(), "classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg.pth")
    train(
        monkeypatch, "anyres", folders, tiny.path.parent, tmp_path / "run", 1, "--perceptual", str(tmp_path / "vgg.pth"),
        "--attributes", str(MODELS / "midface_s" / "model.onnx"),
    )
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    terms = dict(zip(words := log.split("step 1 ")[1].split()[:12], words[1:], strict=False))
    assert float(terms["A"]) > 0
    assert float(terms["P"]) > 0


def test_aggans_sheet_shows_where_its_networks_look(
    folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def sheet(pictures, labels, **_: object) -> np.ndarray:
        shown.extend(label.rsplit(" ", 1)[0] for label in labels)
        assert all(p.std() > 0 for p, label in zip(pictures, labels, strict=True) if "attends" in label)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr("meetmid.models.recipes.translation.contact_sheet", sheet)
    train(monkeypatch, "aggan", folders, tiny.path.parent, tmp_path / "run", 1)
    assert list(dict.fromkeys(shown)) == ["source", "translated", "G attends", "D1 attends", "D2 attends", "target"]


@pytest.mark.parametrize("spectrum", spectra.SPECTRA)
def test_spectra_repeat_by_seed_and_move_their_landmarks(spectrum: str, face) -> None:
    crop, points = face(1, 64), pairs.template_points(64).astype(np.float64)
    first, again, other = (spectra.SPECTRA[spectrum](crop, points, seed) for seed in (3, 3, 4))
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()
    assert first[0].shape == crop.shape
    moved = np.abs(first[1] - points).max()
    assert (0 < moved < 8) if spectrum == "near-infrared" else moved == 0


def test_folders_pair_by_path_or_by_person(folders: tuple[Path, Path]) -> None:
    source, target = folders
    read = pairs.read_pairs(source, target, 32)
    assert read.source.people == [f"P{k // 2}" for k in range(10)]
    training, held = pairs.split_people(read, 0.4, 1)
    assert not set(training.source.people) & set(held.source.people)
    assert len(set(held.source.people)) == 2
    (target / "P0" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"not paired: only one of them has P0/0\.png"):
        pairs.read_pairs(source, target, 32)
    unpaired = pairs.read_unpaired(source, target, 32, 1)
    assert unpaired.source.people == unpaired.target.people
    assert len(unpaired) == 10


def test_landmarks_of_a_folder_scale_with_its_pictures(folders: tuple[Path, Path]) -> None:
    rows = "".join(f"P{p}/{k}.png,0,0,71,71,35.5,35.5\n" for p in range(5) for k in range(2))
    (folders[0] / "points.csv").write_text("file,x0,y0,x1,y1,x2,y2\n" + rows)
    points = pairs.read_folder(folders[0], 36).points
    assert points.shape == (10, 3, 2)
    assert np.allclose(points[0], [[-0.25, -0.25], [35.25, 35.25], [17.5, 17.5]])


def test_augmentation_moves_landmarks_with_the_picture() -> None:
    points = torch.tensor([[[20.0, 22.0], [40.0, 22.0], [30.0, 34.0], [22.0, 45.0], [38.0, 45.0]]]).repeat(6, 1, 1)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    change = Augmentation(enlarge=1.2, rotation=10.0)
    mirrored = []
    for k in range(5):
        spot = torch.exp(-((x - points[0, k, 0]) ** 2 + (y - points[0, k, 1]) ** 2) / 18) * 2 - 1
        pictures = spot.expand(6, 3, 64, 64)
        moved = change(Batch(pictures, pictures, points, points), np.random.default_rng(5))
        for n in range(6):
            at = divmod(int(moved.source[n, 0].argmax()), 64)
            distances = (moved.source_points[n] - torch.tensor([float(at[1]), float(at[0])])).norm(dim=1)
            assert distances.min() < 1.0
            assert int(distances.argmin()) in (k, (1, 0, 2, 4, 3)[k])
            if k == 0:
                mirrored.append(int(distances.argmin()) == 1)
    assert any(mirrored)
    assert not all(mirrored)


def test_a_change_of_nothing_and_a_mirror_keep_the_bits_of_geometry() -> None:
    pictures = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    points = torch.rand(8, 5, 2) * 15
    batch = Batch(pictures, pictures.flip(0), points, points)
    same = Augmentation(mirror=())(batch, np.random.default_rng(0))
    assert torch.allclose(same.source, pictures, atol=1e-5)
    assert torch.allclose(same.source_points, points, atol=1e-5)
    mirrored = Augmentation()(batch, np.random.default_rng(0))
    kinds = set()
    for n in range(8):
        plain = torch.allclose(mirrored.target[n], batch.target[n], atol=1e-5)
        kinds.add(plain)
        assert plain or torch.allclose(mirrored.target[n], batch.target[n].flip(2), atol=1e-5)
        if not plain:
            wanted = points[n, [1, 0, 2, 4, 3]] * torch.tensor([-1.0, 1.0]) + torch.tensor([15.0, 0.0])
            assert torch.allclose(mirrored.target_points[n], wanted, atol=1e-4)
    assert kinds == {True, False}
    with pytest.raises(ValueError, match="expects the order of 4 landmarks, got 5"):
        Augmentation()(Batch(pictures, pictures, points[:, :4], points[:, :4]), np.random.default_rng(0))


def test_tones_change_together_and_only_sources_sharpen() -> None:
    pictures = torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(2)) - 0.5
    batch = Batch(pictures, pictures, torch.zeros(16, 0, 2), torch.zeros(16, 0, 2))
    toned = Augmentation(mirror=(), contrast=0.2)(batch, np.random.default_rng(3))
    assert torch.allclose(toned.source, toned.target, atol=1e-6)
    spread = toned.target.std((1, 2, 3)) / pictures.std((1, 2, 3))
    assert (spread > 0.79).all()
    assert (spread < 1.21).all()
    assert spread.std() > 0.05
    sharp = Augmentation(mirror=(), sharpness=1.0)(batch, np.random.default_rng(3))
    assert torch.allclose(sharp.target, pictures, atol=1e-5)
    detail = (pictures - smoothed(pictures)).flatten(1)
    factor = ((sharp.source - pictures).flatten(1) * detail).sum(1) / detail.square().sum(1)
    assert (factor.abs() < 1e-3).any()
    assert (factor > 0.1).any()
    assert (factor < -0.1).any()
    assert (factor.abs() <= 1.001).all()


def test_smoothing_is_pillows() -> None:
    from PIL import Image, ImageFilter

    grey = np.random.default_rng(0).integers(0, 256, (20, 20)).astype(np.uint8)
    wanted = np.asarray(Image.fromarray(grey).filter(ImageFilter.SMOOTH), np.float32)
    ours = smoothed(torch.from_numpy(grey.astype(np.float32)).expand(1, 3, 20, 20))[0, 0].numpy()
    assert np.abs(ours - wanted)[1:-1, 1:-1].max() <= 0.51


def test_a_pool_gives_back_earlier_pictures() -> None:
    torch.manual_seed(0)
    pool = Pool(4, (1,))
    assert torch.equal(pool(torch.arange(4.0)[:, None]), torch.arange(4.0)[:, None])
    given = torch.cat([pool(torch.full((1, 1), float(k))) for k in range(4, 60)])
    new = (given[:, 0] == torch.arange(4, 60)).float().mean()
    assert 0.25 < new < 0.75
    earlier = given[:, 0][given[:, 0] != torch.arange(4, 60)].tolist()
    assert len(set(earlier)) == len(earlier), "a picture that was given back has left the pool"
    assert torch.equal(Pool(0, (1,))(given), given)


def test_figures_leave_a_pictures_own_pair_out() -> None:
    rng = np.random.default_rng(0)
    people = [f"P{k // 2}" for k in range(12)]
    plain, made = rng.integers(0, 6, (2, 12, 12)).astype(float)
    found = matching_figures(plain, made, people)
    for name, scores in (("untranslated", plain), ("translated", made), ("fused", (plain + made) / 2)):
        mated = [scores[a, b] for a in range(12) for b in range(12) if a != b and people[a] == people[b]]
        other = [scores[a, b] for a in range(12) for b in range(12) if people[a] != people[b]]
        assert found[name] == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a in mated for b in other]))
    assert found["gain"] == pytest.approx(found["translated"] - found["untranslated"])
    assert found["gain_low"] < found["gain"] < found["gain_high"]


def test_a_rule_tells_persons_and_folders_may_validate(
    folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [Path("train/P1_a_3.png"), Path("train/P2_b_3.png")]
    assert [pairs._person(n, None) for n in names] == ["train", "train"]
    rule = re.compile("/(P[0-9]+)_")
    assert [pairs._person(n, rule) for n in names] == ["P1", "P2"]
    with pytest.raises(ValueError, match="expects one group"):
        pairs._person(Path("elsewhere.png"), rule)
    options = ["--validation-source", str(folders[0]), "--validation-target", str(folders[1])]
    with pytest.raises(SystemExit, match="must not train and validate, but P0, P1"):
        train(monkeypatch, "rim_fhn", folders, tiny.path.parent, tmp_path / "run", 1, *options)


def test_unaligned_targets_are_refused(folders: tuple[Path, Path]) -> None:
    rows = "".join(f"P{p}/{k}.png,5,5,20,5,12,12,8,20,18,20\n" for p in range(5) for k in range(2))
    header = "file," + ",".join(f"x{k},y{k}" for k in range(5)) + "\n"
    (folders[1] / "points.csv").write_text(header + rows)
    with pytest.raises(ValueError, match="target pictures are not aligned"):
        pairs.read_pairs(*folders, 36)


def test_large_sets_lie_in_a_file(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    held = pairs.read_folder(folders[0], 36).pictures
    monkeypatch.setattr(pairs, "IN_MEMORY", 100)
    mapped = pairs.read_folder(folders[0], 36).pictures
    assert isinstance(mapped, np.memmap)
    assert (mapped == held).all()


def test_epochs_become_steps_and_snapshots_are_kept(
    folders: tuple[Path, Path], tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert steps_of(90, 4000, 1) == 360_000
    assert steps_of(3, 5, 2) == 8
    train(monkeypatch, "rim_fhn", folders, tiny.path.parent, tmp_path / "run", 4, "--snapshots", "1")
    kept = torch.load(tmp_path / "run" / "weights-epoch-1.pt", weights_only=True)
    last = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)
    assert kept.keys() == last.keys()
    assert any(not torch.equal(kept[k], last[k]) for k in kept)
    history = tomllib.loads((tmp_path / "run" / "training.toml").read_text(encoding="utf-8"))
    assert "weight_pixel 5.0" in history["options"]
    assert str(tmp_path) not in history["options"]


def test_regions_lie_at_their_landmarks() -> None:
    points = torch.from_numpy(pairs.template_points(112))[None]
    centres = part_centres(points)
    labels = region_labels(centres, 112, 112)[0]
    for k, label in enumerate((4, 5, 6, 9)):
        x, y = centres[0, k].round().long().tolist()
        assert labels[y, x] == label
    assert set(labels.unique().tolist()) == set(range(11))
