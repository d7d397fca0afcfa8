"""How the face finder is trained: composed scenes, cells assigned by size and place, and one loss per kind of output."""

from __future__ import annotations

import argparse
import csv
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from meetmid.models.recipes.agreement import read_labels, relabelled, write_labels
from meetmid.models.recipes.faces import add_data, read_points
from meetmid.models.recipes.finding_figures import recalls
from meetmid.models.recipes.reopening import continued, reopen
from meetmid.models.recipes.scenes import Box, KnownFace, Scene, compose
from meetmid.models.recipes.training import LICENSE, cosine_rate, export, load_checkpoint, logger, save_checkpoint
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from meetmid.faces import finder as finders
from meetmid.faces.detection import YuNet
from meetmid.networks.finder import STRIDES, Finder, FlatFinder, decode
from meetmid.runtime.cards import read_card, write_card

ROOT = Path(__file__).resolve().parents[2]
GMAC = 0.131
SHOWN_LARGER = 10 / 7
"""By what scenes are enlarged for training; more than the finder enlarges pictures, so that it has seen smaller faces."""
"""Of a picture of 320 x 320 px."""

SIZES = ((0.0, 44.0), (26.0, 120.0), (80.0, 1e9))
"""Face sizes in pixels that the cells of each stride answer for; neighbours overlap."""


Named = list[tuple[str, KnownFace]]


def known_faces(data: Path, part: str, names: frozenset[str] | None = None) -> Named:
    """Pictures of LFW by name, with the boxes and points of points.csv: of people with a single picture ("single"), or of the
    others ("multiple"), of them ``names`` alone."""
    with (data / "lfw" / "points.csv").open(newline="") as file:
        boxes = {row["file"]: _box(row) for row in csv.DictReader(file)}
    points = read_points(data / "lfw" / "points.csv")
    count = Counter(name.split("/")[0] for name in points)
    found = []
    for name, code in _coded(data / "lfw" / "lfw_dev.tar"):
        person = name.split("/")[0]
        if name in points and (count[person] == 1) == (part == "single") and (names is None or person in names):
            found.append((name, KnownFace(code, boxes[name], points[name])))
    return found


def _box(row: dict[str, str]) -> Box:
    left, top, width, height = (float(row[k]) for k in ("box_x", "box_y", "box_w", "box_h"))
    return left, top, width, height


def chips(data: Path) -> Named:
    """UTKFace's chips, whose box is set from the points as YuNet's lies around LFW's."""
    points = read_points(data / "utkface" / "points.csv")
    return [
        (name, KnownFace(code, box_of(points[name]), points[name]))
        for name, code in _coded(data / "utkface" / "utkface_train.tar") if name in points
    ]


def _coded(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            if stream is not None:
                yield member.name, stream.read()


def box_of(points: NDArray[np.float64]) -> Box:
    """Where YuNet's box lies around five points: medians over LFW, in distances between the eyes and from eyes to mouth."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    reach = float(np.linalg.norm(mouth - eyes))
    centre = eyes + 0.33 * (mouth - eyes)
    width, height = 2.09 * reach, 2.87 * reach
    return float(centre[0] - width / 2), float(centre[1] - height / 2), width, height


def targets(scenes: list[Scene], size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per cell of all strides: the number of its face in its scene or -1 (N, K), and, where there is one, box (N, K, 4) and
    points (N, K, 5, 2); and (N, K) whether the cell is left out of the score's loss, near a face of a neighbouring stride."""
    cells = [size // s for s in STRIDES]
    total = sum(c * c for c in cells)
    which = torch.full((len(scenes), total), -1)
    ignored = torch.zeros((len(scenes), total), dtype=torch.bool)
    boxes, points = torch.zeros(len(scenes), total, 4), torch.zeros(len(scenes), total, 5, 2)
    for n, scene in enumerate(scenes):
        for number in np.argsort(-scene.boxes[:, 2] * scene.boxes[:, 3]):  # small faces last: they keep their cells
            x, y, w, h = scene.boxes[number]
            extent = float(np.sqrt(w * h))
            first = 0
            for stride, count, (low, high) in zip(STRIDES, cells, SIZES, strict=True):
                grid = (np.arange(count) + 0.5) * stride
                reach = max(0.75 * stride, 0.18 * extent) if low <= extent < high else 0.0
                near = max(1.0 * stride, 0.32 * extent)
                for value, chosen in ((near, False), (reach, True)):
                    rows, columns = np.abs(grid - (y + h / 2)) < value, np.abs(grid - (x + w / 2)) < value
                    at = first + (np.flatnonzero(rows)[:, None] * count + np.flatnonzero(columns)[None]).ravel()
                    if chosen:
                        which[n, at] = int(number)
                        boxes[n, at] = torch.tensor([x, y, w, h], dtype=torch.float32)
                        points[n, at] = torch.from_numpy(scene.points[number]).float()
                        ignored[n, at] = False
                    else:
                        ignored[n, at[which[n, at].numpy() < 0]] = True
                first += count * count
    return which, boxes, points, ignored


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and GIoU (H. Rezatofighi et al., CVPR 2019, eq. 1) of boxes (M, 4), pair by pair."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    union = a[:, 2:].prod(1) + b[:, 2:].prod(1) - common
    hull = (torch.maximum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    iou = common / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


def loss(maps: tuple[Tensor, ...], scenes: list[Scene], size: int) -> dict[str, Tensor]:
    """Score: cross-entropy with the box's IoU as its target, weighted by the squared error (X. Li et al., "Generalized focal
    loss", NeurIPS 2020, eq. 4); box: 1 - GIoU; points: L1 in shares of the face's size."""
    which, boxes, points, ignored = targets(scenes, size)
    scores, found, places = decode(maps)
    own = which >= 0
    count = max(1, int(own.sum()))
    iou, giou = overlaps(found[own], boxes[own])
    wanted = torch.zeros_like(scores)
    wanted[own] = iou.detach().clamp(min=0.05)
    probability = scores.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
    focal = entropy * (wanted - probability).square()
    extent = boxes[own][:, 2:].prod(1).sqrt()[:, None, None]
    return {
        "score": 2.0 * (focal * ~ignored).sum() / count,
        "box": 2.0 * (1 - giou).sum() / count,
        "points": 20.0 * ((places[own] - points[own]).abs() / extent).mean((1, 2)).sum() / count,
    }


def enlarged(scene: Scene, size: int) -> Scene:
    """The scene as the finder is shown it, ``size`` px a side."""
    ratio = np.array([size / scene.picture.shape[1], size / scene.picture.shape[0]])
    picture = np.asarray(cv2.resize(scene.picture, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    return Scene(picture, scene.boxes * np.tile(ratio, 2), (scene.points + 0.5) * ratio - 0.5)


def batch(
    faces: list[KnownFace], count: int, size: int, seed: tuple[int, ...], worn: float = 0.0
) -> tuple[Tensor, list[Scene]]:
    """Scenes enlarged to ``size``, a share ``worn`` of whose faces wear something, and their pictures as the network takes
    them."""
    side = round(size / SHOWN_LARGER)
    scenes = [enlarged(compose(faces, (side, side), (*seed, k), smallest=9.0, worn=worn), size) for k in range(count)]
    pictures = np.stack([s.picture for s in scenes]).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    return torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last), scenes


def labelled(data: Path, out: Path, names: frozenset[str] | None = None) -> list[KnownFace]:
    """The training faces (a third of UTKFace), or those of the people in ``names``, with the labels that YuNet agrees on with
    itself, which are made once and kept in ``out``."""
    detector = YuNet(data / "weights" / "yunet-n-dynamic.onnx", threshold=0.3)
    named = known_faces(data, "single") + chips(data)[::3] if names is None else known_faces(data, "multiple", names)
    write_labels(out, named, detector)
    return list(relabelled(named, read_labels(out)))


def publish(network: Finder, data: Path, out: Path, training: dict[str, int]) -> None:
    """Export, measure on people never trained on and write the model's folder, ``out / "model"``; what is put in place of
    ``models/finder`` has no partner until ``models/pointer/train.py`` names the pointer."""
    folder = out / "model"
    folder.mkdir(exist_ok=True)
    weights = sum(p.numel() for p in network.parameters())
    example = torch.zeros(1, 3, 64, 96)
    facts = export(
        FlatFinder(network), example, folder / "model.onnx", {0: "batch", 2: "height", 3: "width"}, {0: "batch", 1: "cells"},
        half=True,
    )
    card: dict[str, Any] = {
        "name": "finder", "family": "finder", "task": "detector", "file": "model.onnx", "sha256": facts["sha256"],
        "license": LICENSE, "gmac": GMAC,
        "summary": f"Face finder ({weights} parameters): boxes and five points of faces from about 12 px",
        "contract": {"channels": "rgb", "mean": [127.5] * 3, "std": [127.5] * 3, "size": [0, 0], "alignment": "",
                     "input": "input", "output": "output"},
        "training": {
            "data": "LFW people with one picture each and a third of UTKFace's chips, composed into scenes",
            "labels": "YuNet (S. Wu et al. 2023; yunet-n, MIT), boxes and points it agrees on over 16 views of each face",
            "recipe": "models/finder/train.py", **training,
        },
        "figures": {"people": "LFW people of benchmarks/splits/test.txt, never trained on, in composed scenes; Wilson 95 %"},
        "use": {
            "intended": "finding and aligning the faces that are to be matched",
            "limits": "faces turned to profile or upside down, behind masks, and unlike LFW's and UTKFace's, are missed more "
            "often; its points follow YuNet's; accuracy by skin tone, age or sex was not measured",
        },
        "export": {"exporter": facts["exporter"], "bytes": facts["bytes"], "parity": f"{facts['parity']:.1e}"},
    }
    write_card(folder / "card.toml", card)
    card["figures"] |= recalls(finders.Finder(read_card(folder / "card.toml"), device="cpu"), test_faces(data, out))
    write_card(folder / "card.toml", card)


def test_faces(data: Path, out: Path) -> list[KnownFace]:
    """The faces that finders are measured on, of people never trained on; their labels are kept in ``out``."""
    names = frozenset((ROOT / "benchmarks" / "splits" / "test.txt").read_text().split())
    return labelled(data, out / "test-labels.csv", names)


def main() -> None:
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    add_data(parser, "lfw/ and utkface/")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worn", type=float, default=0.3, help="the share of faces that wear a mask, glasses or a hat")
    parser.add_argument("--begin", type=Path, help="a published finder's model.onnx to go on from")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    log = logger(args.out)
    faces = labelled(args.data, args.out / "labels.csv")
    log.info("%d faces", len(faces))
    torch.manual_seed(args.seed)
    network = Finder().to(memory_format=torch.channels_last)  # a fifth faster on a CPU
    optimiser = torch.optim.AdamW(network.parameters(), args.rate, weight_decay=1e-3)
    if args.begin is not None:
        reopen(network, args.begin, (batch(faces, args.batch, args.size, (args.seed, at), args.worn)[0] for at in range(20)))
    step = load_checkpoint(args.out / "checkpoint.pt", network, optimiser)
    begun = time.monotonic()
    for at in range(step, args.steps):
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(at, args.steps, args.rate)
        pictures, scenes = batch(faces, args.batch, args.size, (args.seed, at), args.worn)
        terms = loss(network.train()(pictures), scenes, args.size)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        if (at + 1) % args.every == 0 or at + 1 == args.steps:
            told = " ".join(f"{k} {v.item():.4f}" for k, v in terms.items())
            log.info("step %d %s (%.0f s)", at + 1, told, time.monotonic() - begun)
            save_checkpoint(args.out / "checkpoint.pt", at + 1, network, optimiser)
    torch.save(network.state_dict(), args.out / "weights.pt")
    training = {"faces": len(faces), "steps": args.steps, "batch": args.batch, "rate": args.rate, "seed": args.seed}
    publish(network, args.data, args.out, continued(args.begin, training | {"worn": args.worn}))
