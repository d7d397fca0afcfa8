"""Each recipe trains on tiny pictures, resumes to the same bits and writes its sheet; readers pair what they say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

import torch
from meetmid.models.recipes import pairs, spectra
from meetmid.models.recipes.regions import part_centres, region_labels
from meetmid.models.recipes.translation import Batch, area_under_curve, augmented

MODELS = Path(pairs.__file__).parents[1]
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
    monkeypatch: pytest.MonkeyPatch, recipe: str, folders: tuple[Path, Path], matcher: Path, out: Path, steps: int
) -> dict:
    family, size, options = RECIPES[recipe]
    if family != "rim_hrn":
        options = [*options, "--matcher", str(matcher)]
    arguments = [
        "--out", str(out), "--source", str(folders[0]), "--target", str(folders[1]), "--validation-share", "0.4",
        "--size", str(size), "--batch", "2", "--every", "1", "--steps", str(steps), *options,
    ]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    runpy.run_path(str(MODELS / family / "train.py"), run_name="__main__")
    return torch.load(out / "checkpoint.pt", weights_only=True)


@pytest.mark.parametrize("recipe", RECIPES)
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
    assert "not the papers' result" in (tmp_path / "whole" / "train.log").read_text(encoding="utf-8")


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
    points = torch.tensor([[[20.0, 22.0], [40.0, 22.0], [30.0, 34.0], [22.0, 45.0], [38.0, 45.0]]])
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for seed in range(6):
        for k in range(5):
            spot = torch.exp(-((x - points[0, k, 0]) ** 2 + (y - points[0, k, 1]) ** 2) / 18) * 2 - 1
            picture = spot.expand(1, 3, 64, 64)
            moved = augmented(Batch(picture, picture, points, points), np.random.default_rng(seed), 1.2)
            at = divmod(int(moved.source[0, 0].argmax()), 64)
            distances = (moved.source_points[0] - torch.tensor([float(at[1]), float(at[0])])).norm(dim=1)
            assert distances.min() < 1.0
            assert int(distances.argmin()) in (k, (1, 0, 2, 4, 3)[k])


def test_area_under_the_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    scores, mated = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    slow = np.mean([(a > b) + 0.5 * (a == b) for a in scores[mated] for b in scores[~mated]])
    assert area_under_curve(scores, mated) == pytest.approx(slow)


def test_regions_lie_at_their_landmarks() -> None:
    points = torch.from_numpy(pairs.template_points(112))[None]
    centres = part_centres(points)
    labels = region_labels(centres, 112, 112)[0]
    for k, label in enumerate((4, 5, 6, 9)):
        x, y = centres[0, k].round().long().tolist()
        assert labels[y, x] == label
    assert set(labels.unique().tolist()) == set(range(11))
