"""Scenes with known faces, and the finder's targets and losses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

import torch
from meetmid.models.recipes import finding, scenes

from meetmid.networks.finder import STRIDES, Finder, decode


def test_a_scene_depends_on_its_seed_alone(known) -> None:
    first, again, other = (scenes.compose(known, (160, 200), (1, k)) for k in (5, 5, 6))
    assert np.array_equal(first.picture, again.picture)
    assert np.array_equal(first.points, again.points)
    assert first.picture.shape == (160, 200, 3)
    assert first.picture.shape == other.picture.shape
    assert not np.array_equal(first.picture, other.picture)


def test_faces_are_where_the_scene_says(known) -> None:
    """Points lie in their boxes, image-left ones to the left, faces in the picture and apart."""
    seen = 0
    for k in range(60):
        scene = scenes.compose(known, (160, 200), (2, k), smallest=12, largest=120)
        for n, (box, points) in enumerate(zip(scene.boxes, scene.points, strict=True)):
            seen += 1
            centre = box[:2] + box[2:] / 2
            assert (centre > 0).all()
            assert (centre < (200, 160)).all()
            assert (np.abs(points - centre) < 0.75 * box[2:].max()).all()
            across = points[1] - points[0]
            assert across[0] > 0  # tilts stay below 90 degrees
            down = points[3:].mean(0) - points[:2].mean(0)
            assert across[0] * down[1] - across[1] * down[0] > 0  # the mouth is below the eyes
            assert all(scenes._covered(box, other) < 0.05 for m, other in enumerate(scene.boxes) if m != n)
    assert seen > 60


def test_a_pasted_face_lies_on_its_points(known) -> None:
    """Marked pixels of the source land where the points say, whatever the scale, turn and mirror."""
    marked = []
    for f in known[:1]:
        picture = np.full((140, 140, 3), 90, np.uint8)
        for k, (x, y) in enumerate(f.points):
            cv2.circle(picture, (round(x), round(y)), 4, (255, 0, 0) if k == 2 else (0, 0, 255), -1)
        marked.append(scenes.KnownFace(cv2.imencode(".png", picture[..., ::-1])[1].tobytes(), f.box, f.points))
    rng = np.random.default_rng(3)
    for _ in range(12):
        canvas = np.zeros((200, 200, 3), np.float32)
        placed = scenes._place(canvas, marked[0], float(rng.uniform(40, 110)), [], rng)
        assert placed is not None
        red = canvas[..., 0] - canvas[..., 2]
        if red.max() < 60:
            continue  # covered by an occlusion
        y, x = np.nonzero(red > 0.6 * red.max())
        assert np.hypot(x.mean() - placed[1][2][0], y.mean() - placed[1][2][1]) < 2.5


def test_targets_stand_at_their_cells_and_decode_back(known) -> None:
    scene = scenes.Scene(
        np.zeros((128, 128, 3), np.uint8), np.array([[40.0, 40.0, 16.0, 20.0], [10.0, 70.0, 50.0, 56.0]]),
        np.arange(20.0).reshape(2, 5, 2),
    )
    which, boxes, points, ignored = finding.targets([scene], 128)
    cells = [128 // s for s in STRIDES]
    first, second = which[0, : cells[0] ** 2], which[0, cells[0] ** 2 : cells[0] ** 2 + cells[1] ** 2]
    assert set(first.tolist()) == {-1, 0}  # 18 px: the finest stride alone
    assert set(second.tolist()) == {-1, 1}  # 53 px: the middle one alone
    assert not (ignored & (which >= 0)).any()
    assert ignored.any()
    own = which[0] >= 0
    assert torch.equal(boxes[0][which[0] == 1][0], torch.tensor([10.0, 70.0, 50.0, 56.0]))
    assert torch.equal(points[0][which[0] == 0][0], torch.arange(10.0).reshape(5, 2))
    assert int(own.sum()) >= 2


def test_overlaps_are_counted_on_pixels() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 20, (40, 2, 2))
    sizes = rng.integers(1, 20, (40, 2, 2))
    iou, giou = finding.overlaps(*(torch.from_numpy(np.hstack([corners[:, k], sizes[:, k]])).float() for k in (0, 1)))
    for n in range(40):
        drawn = np.zeros((2, 40, 40), bool)
        for k in (0, 1):
            (x, y), (w, h) = corners[n, k], sizes[n, k]
            drawn[k, y : y + h, x : x + w] = True
        union = drawn.any(0)
        rows, columns = np.flatnonzero(union.any(1)), np.flatnonzero(union.any(0))
        hull = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        wanted = drawn.all(0).sum() / union.sum()
        assert iou[n].item() == pytest.approx(wanted, abs=1e-5)
        assert giou[n].item() == pytest.approx(wanted - (hull - union.sum()) / hull, abs=1e-5)


def test_it_learns_a_batch(known) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Finder(stem=8, width=16)
    pictures, made = finding.batch(known, 3, 128, (7,))
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)

    def total() -> torch.Tensor:
        return torch.stack(list(finding.loss(network(pictures), made, 128).values())).sum()

    before = total().item()
    for _ in range(60):
        optimiser.zero_grad()
        loss = total()
        loss.backward()
        optimiser.step()
    assert total().item() < 0.6 * before
    scores, boxes, _ = decode(network(pictures))
    scene = next(n for n, s in enumerate(made) if len(s.boxes))
    best = boxes[scene, scores[scene].argmax()][None].expand(len(made[scene].boxes), 4)
    assert finding.overlaps(best, torch.from_numpy(made[scene].boxes).float())[0].max() > 0.3


def test_boxes_of_points_are_those_of_lfw(data) -> None:
    found = finding.known_faces(data, "single")[:200]
    boxes = torch.tensor([finding.box_of(f.points) for _, f in found])
    iou, _ = finding.overlaps(boxes.float(), torch.tensor([f.box for _, f in found]).float())
    assert iou.median() > 0.85
