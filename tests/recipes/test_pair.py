"""The recipe of the pair of matchers: what the far camera makes, where training begins, and what is learned."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training recipes need torch (extra: export)")

from meetmid.models.recipes import far, groups, morphs, pair, views  # noqa: E402
from meetmid.models.recipes.beginnings import evened, published  # noqa: E402
from meetmid.models.recipes.cohort import joined  # noqa: E402
from meetmid.models.recipes.distillation import TEACHER, canvas_of, templates  # noqa: E402

from meetmid.faces.alignment import ARCFACE_112, CLASSIC_96X112, align  # noqa: E402
from meetmid.networks.slimface import Bottleneck, SlimFace  # noqa: E402
from meetmid.resize import resize, to_float, to_uint8  # noqa: E402
from meetmid.templates.centering import ReferenceMeans  # noqa: E402


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (24, 21), (48, 48)])
def test_every_capture_is_a_picture_of_its_size_and_its_seed(face, size) -> None:
    sharp = face(1, 128)
    for seed in range(25):  # all branches are drawn among them
        got = far.caught(sharp, size, rng(seed))
        assert got.shape == (*size, 3)
        assert got.dtype == np.uint8
        assert np.array_equal(got, far.caught(sharp, size, rng(seed)))


def test_the_transform_is_orthonormal_and_coding_is_as_a_slow_loop_does_it(face) -> None:
    np.testing.assert_allclose(far.DCT @ far.DCT.T, np.eye(4), atol=1e-6)
    plane = face(2, 24)[..., 0].astype(np.float32) / 255
    want = np.empty_like(plane)
    for y in range(0, 24, 4):
        for x in range(0, 24, 4):
            levels = far.DCT @ plane[y : y + 4, x : x + 4] @ far.DCT.T
            want[y : y + 4, x : x + 4] = far.DCT.T @ (np.round(levels / 0.1) * 0.1) @ far.DCT
    np.testing.assert_allclose(far._quantised(plane, 0.1), want, atol=1e-5)
    fine = far._blocks(face(2, 21).astype(np.float32) / 255, 1e-4)
    assert fine.shape == (21, 21, 3)
    luma = fine @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(luma, face(2, 21) @ np.array([0.299, 0.587, 0.114]) / 255, atol=0.02)


def test_a_colour_filter_keeps_an_even_colour_wherever_it_begins() -> None:
    even = np.broadcast_to(np.array([0.8, 0.4, 0.2], np.float32), (16, 16, 3)).copy()
    for seed in range(12):
        np.testing.assert_allclose(far._mosaic(even, rng(seed)), even, atol=1 / 255)


def test_a_lost_field_repeats_the_rows_above(face) -> None:
    picture = face(3, 16).astype(np.float32) / 255
    kinds = set()
    for seed in range(20):
        got = far._interlaced(picture, rng(seed))
        np.testing.assert_array_equal(got[0::2], picture[0::2])
        kinds.add(bool(np.array_equal(got[1::2], picture[0::2])))
    assert kinds == {True, False}


def test_noise_grows_with_the_light() -> None:
    drawn = [far._noise(np.full((64, 64, 3), level, np.float32), rng(seed)).std() for level in (0.2, 0.8) for seed in range(40)]
    assert np.mean(drawn[40:]) > np.mean(drawn[:40])
    assert max(drawn) < 0.06


def test_the_crop_from_a_canvas_is_that_of_the_picture(face) -> None:
    picture = cv2.GaussianBlur(face(4, 250), (0, 0), 3.0)  # smooth, so that warping twice costs little
    points = ARCFACE_112.scaled(120, 120) + 60 + rng().normal(0, 2, (5, 2))
    direct = to_uint8(resize(to_float(align(picture, points, CLASSIC_96X112)), (pair.VIEW, pair.VIEW)))  # as a Matcher cuts it
    canvas = canvas_of(picture, points)
    for mirror in (False, True):
        got = pair.framed(canvas, mirror, 0.0, rng())
        want = direct[:, ::-1] if mirror else direct
        assert np.abs(got.astype(int) - want)[8:-8, 8:-8].mean() < 4


def test_a_mirrored_canvas_is_framed_as_the_mirrored_crop(face) -> None:
    canvas = face(5, 128)
    plain, mirrored = (pair.framed(c, m, 0.0, rng()) for c, m in ((canvas, False), (canvas[:, ::-1].copy(), True)))
    assert np.array_equal(plain, mirrored)


def test_probes_are_soft_and_portraits_sharp(face) -> None:
    canvas = face(6, 128)

    def detail(pictures) -> float:
        return float(np.mean([cv2.Laplacian(p, cv2.CV_64F).std() for p in pictures]))

    probes, portraits = ([view(canvas, False, rng(k)) for k in range(30)] for view in (pair.far, pair.near))
    assert detail(probes) < 0.8 * detail(portraits)
    assert {p.shape for p in probes + portraits} == {(128, 128, 3)}


def test_contrast_is_the_cross_entropy_among_those_who_are_not_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    bank = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=1)
    unit = torch.nn.functional.normalize(torch.randn(3, 8, generator=generator), dim=1)
    goal = torch.stack([bank[4], bank[9], torch.nn.functional.normalize(bank[1] + bank[2], dim=0)])
    own = torch.tensor([4, 9, -1])
    losses = []
    for k in range(3):
        right = np.exp(20 * float(unit[k] @ goal[k]))
        others = [j for j in range(40) if j != int(own[k]) and float(goal[k] @ bank[j]) <= pair.ALIKE]
        wrong = sum(np.exp(20 * float(unit[k] @ bank[j])) for j in others)
        losses.append(-np.log(right / (right + wrong)))
    assert float(pair.contrast(unit, goal, bank, own)) == pytest.approx(np.mean(losses), rel=1e-4)


def test_goals_are_unit_means_of_both_templates() -> None:
    two = np.array([[[1.0, 0.0], [0.0, 1.0]]], np.float32)
    np.testing.assert_allclose(pair.goals(two), [[np.sqrt(0.5), np.sqrt(0.5)]], atol=1e-6)


def test_a_batch_is_that_of_its_seed_and_knows_its_goals(face) -> None:
    canvases = np.stack([face(k, 128) for k in range(4)])
    goals = torch.eye(4, 6)
    sources = [(canvases, goals), (canvases, -goals)]
    pictures, goal, own = pair.batch_of(sources, 20, (1, 2), "probe")
    again = pair.batch_of(sources, 20, (1, 2), "probe")
    assert np.array_equal(pictures, again[0])
    for row, index in zip(goal, own, strict=True):
        assert torch.equal(row, goals[index]) if index >= 0 else float(row.sum()) == -1
    assert {int(i) < 0 for i in own} == {True, False}


def test_stages_draw_the_sizes_that_they_say(face, monkeypatch) -> None:
    heights: list[int] = []
    monkeypatch.setattr(views, "caught", lambda crop, size, rng: heights.append(size[0]) or crop[: size[0], : size[1]])
    canvases = np.stack([face(k, 128) for k in range(4)])
    sources = [(canvases, torch.eye(4, 6)), (canvases, -torch.eye(4, 6))]
    for stage in (pair.FIRST, *pair.FURTHER.values()):
        heights.clear()
        own = pair.batch_of(sources, 300, (1,), "probe", stage)[2]
        assert stage.smallest - 0.5 <= min(heights) < stage.smallest + 2
        assert stage.largest - 3 < max(heights) <= stage.largest + 0.5
        assert len(heights) / 300 == pytest.approx(1 - stage.sharp, abs=0.06)
        assert float((own < 0).float().mean()) == pytest.approx(stage.morphs, abs=0.1)


def test_stages_follow_each_other_and_the_card_tells_of_them(tmp_path, monkeypatch) -> None:
    """The order of the stages and what is told of them; nothing is trained."""
    calls: list[tuple[object, ...]] = []
    facts: dict[str, object] = {}
    network = SlimFace()
    folder = tmp_path / "models" / "slimface_probe"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"second")
    sha256 = hashlib.sha256(b"second").hexdigest()
    training = 'steps = 7500\ndata = "faces"\nsecond_stage_steps = 3'
    (folder / "card.toml").write_text(f'sha256 = "{sha256}"\n[training]\n{training}\n')

    def trained(data, work, role, stage, batch, threads, student, begin=None, begun_with=""):
        calls.append((stage.seed, stage.steps, begin is not None, begun_with))
        return network, ([0.0], [1.0])

    monkeypatch.setattr(pair, "ROOT", tmp_path)
    monkeypatch.setattr(pair, "train", trained)
    monkeypatch.setattr(pair, "settle", lambda *_: calls.append(("settled",)))
    monkeypatch.setattr(pair, "published", lambda _: (network, ([0.0], [1.0])))
    monkeypatch.setattr(pair, "restored", lambda start, path: start)
    monkeypatch.setattr(pair, "publish", lambda model, role, norm, data, told: facts.update(told))
    monkeypatch.setattr(pair, "add_means", lambda _: None)

    def run(*options: str) -> None:
        calls.clear()
        facts.clear()
        monkeypatch.setattr("sys.argv", ["train.py", "--work", str(tmp_path / "work"), *options])
        pair.main("probe")

    second, third = pair.FURTHER["second"], pair.FURTHER["third"]
    run()
    assert calls == [
        (7, 7500, False, ""), ("settled",), (second.seed, second.steps, True, ""), ("settled",),
        (third.seed, third.steps, True, ""), ("settled",),
    ]
    assert (facts["steps"], facts["second_stage_steps"], facts["third_stage_steps"]) == (7500, second.steps, third.steps)
    assert str(facts["data"]).count("stage 40,000 morphs of other pairs") == 2
    run("--begin", str(folder / "model.onnx"), "--further", "5")
    assert calls == [(third.seed, 5, True, sha256), ("settled",)]
    assert (facts["steps"], facts["second_stage_steps"], facts["third_stage_steps"]) == (7500, 3, 5)
    assert facts["third_stage_began_with"] == sha256
    (tmp_path / "other.onnx").write_bytes(b"other")
    run("--begin", str(tmp_path / "other.onnx"))
    assert "steps" not in facts
    assert "second_stage_steps" not in facts
    assert facts["third_stage_began_with"] == hashlib.sha256(b"other").hexdigest()
    assert facts["data"] == "unknown; in the third stage 40,000 morphs of other pairs"
    run("--published")
    assert calls == [("settled",)]
    assert facts == {"steps": 7500, "data": "faces", "second_stage_steps": 3}
    # the card of what has had its last stage tells of what that began with
    (tmp_path / "second.onnx").write_bytes(b"second")
    (folder / "model.onnx").write_bytes(b"third")
    last = f'third_stage_steps = 9\nthird_stage_began_with = "{sha256}"'
    training = f'steps = 7500\ndata = "faces{pair.OTHERS.format("third")}"\nsecond_stage_steps = 3\n{last}'
    (folder / "card.toml").write_text(f'sha256 = "{hashlib.sha256(b"third").hexdigest()}"\n[training]\n{training}\n')
    run("--begin", str(tmp_path / "second.onnx"))
    assert (facts["steps"], facts["second_stage_steps"], facts["third_stage_steps"]) == (7500, 3, third.steps)
    assert facts["data"] == "faces; in the third stage 40,000 morphs of other pairs"
    (tmp_path / "third.onnx").write_bytes(b"third")
    for options, changed in ((("--begin", str(tmp_path / "third.onnx")), b"third"), (("--published",), b"changed")):
        (folder / "model.onnx").write_bytes(changed)
        with pytest.raises(SystemExit):
            run(*options)


def random_slimface() -> SlimFace:
    torch.manual_seed(3)
    network = SlimFace()
    for number, module in enumerate(network.modules()):
        if isinstance(module, torch.nn.LeakyReLU):
            module.negative_slope = (-0.7, 0.3, 2.0)[number % 3]
        elif isinstance(module, torch.nn.Conv2d):
            with torch.no_grad():
                module.weight *= 10.0 ** (torch.rand(len(module.weight), 1, 1, 1) * 2 - 1)
    return network.eval()


def test_evening_weights_keeps_the_function() -> None:
    network, pictures = random_slimface(), torch.randn(4, 3, 128, 128)
    with torch.no_grad():
        before = network(pictures)
        after = evened(network, pictures)(pictures)
    assert float((before - after).abs().max() / before.abs().max()) < 1e-4
    spread = []
    hooks = [
        m.register_forward_hook(lambda _, __, out: spread.append(out.std((0, 2, 3)))) for m in network.modules()
        if isinstance(m, torch.nn.Conv2d) and m.groups > 1 and m.kernel_size == (3, 3)
    ]
    with torch.no_grad():
        network(pictures)
    for hook in hooks:
        hook.remove()
    assert all(float(s.median()) == pytest.approx(1.0, abs=0.01) for s in spread)


def test_blocks_add_only_where_shapes_allow() -> None:
    adding = [block.adds for block in SlimFace().blocks if isinstance(block, Bottleneck)]
    assert adding == [False, *[True] * 4, False, *[True] * 6, False, True, True]


def test_published_weights_give_the_teachers_templates(data: Path, face) -> None:
    import onnxruntime

    network, (mean, std) = published(data / "weights" / TEACHER)
    views = [face(k, 128) for k in range(3)]
    x = torch.from_numpy(np.stack(views)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    shift, scale = (torch.tensor(v, dtype=torch.float32).view(1, 3, 1, 1) for v in (mean, std))
    with torch.no_grad():
        got = torch.nn.functional.normalize(network((x - shift) / scale), dim=1).numpy()
    session = onnxruntime.InferenceSession(str(data / "weights" / TEACHER), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(got, templates(session, views), atol=1e-5)


def test_a_step_leads_templates_to_their_goals(face) -> None:
    torch.manual_seed(1)
    network = random_slimface()
    x, goal = torch.randn(4, 3, 128, 128), torch.nn.functional.normalize(torch.randn(4, 256), dim=1)
    evened(network, x)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-4)
    found = []
    for _ in range(6):
        unit = torch.nn.functional.normalize(network(x), dim=1)
        loss = 5 * (1 - (unit * goal).sum(1).mean()) + pair.contrast(unit, goal, goal, torch.arange(4))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    assert found[-1] < found[0]


def test_an_assistant_adds_to_a_student_that_rests(face) -> None:
    torch.manual_seed(1)
    student = random_slimface()
    x, goal = torch.randn(4, 3, 128, 128), torch.nn.functional.normalize(torch.randn(4, 256), dim=1)
    evened(student, x)
    both = pair.Assisted(student)
    with torch.no_grad():
        alone = student(x)
        torch.testing.assert_close(both(x), 2 * alone)
    optimiser = torch.optim.AdamW([p for p in both.parameters() if p.requires_grad], 3e-4)
    cosine = [(torch.nn.functional.normalize(both(x), dim=1) * goal).sum(1).mean()]
    for _ in range(3):
        optimiser.zero_grad()
        (-cosine[-1]).backward()
        optimiser.step()
        cosine.append((torch.nn.functional.normalize(both(x), dim=1) * goal).sum(1).mean())
    assert cosine[-1] > cosine[0]
    with torch.no_grad():
        torch.testing.assert_close(student(x), alone, rtol=0, atol=0)


def test_a_morph_is_both_faces(face) -> None:
    a, b = face(1, 32), face(2, 32)
    one = np.ones(3)
    even = morphs.mix(a, b, 0.5, one / 1.08, 0 * one)
    np.testing.assert_allclose(even, (a.astype(float) + b) / 2, atol=0.51)
    np.testing.assert_allclose(morphs.mix(a, b, 1.0, one / 1.08, 0 * one), a, atol=0.51)


@pytest.mark.parametrize(("name", "want"), [
    ("part/26_1_2_2017.jpg.chip.jpg", ["asian female", "age 26 to 45"]),
    ("9_0_0_2017.jpg.chip.jpg", ["white male", "age 0 to 12"]),
    ("61_1_20170109.jpg.chip.jpg", []),
    ("portrait.jpg", []),
])
def test_groups_are_read_from_names(name, want) -> None:
    assert groups.labels(name) == want


def test_false_matches_of_a_group_are_counted_by_hand() -> None:
    rows = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
    assert groups._rate(rows, np.array([0, 1, 2]), 0.5).startswith("0.33333 [")
    assert groups._rate(rows, np.array([0, 2]), 0.5).startswith("0.00000 [0.00000, 0.00000] of 2")


def test_means_are_joined_in_order_and_the_first_ones_stay() -> None:
    def means(scales: tuple[int, ...], value: float) -> ReferenceMeans:
        rows = np.full((len(scales), 2), value, np.float32) + np.array(scales, np.float32)[:, None]
        return ReferenceMeans("m", scales, rows, -rows, {"probes": 3}, np.full((2, 2), value, np.float32))

    both = joined(means((1, 4), 0.5), means((1, 2, 8), 0.25))
    assert both.scales == (1, 2, 4, 8)
    np.testing.assert_array_equal(both.probe[:, 0], [1.5, 2.25, 4.5, 8.25])
    np.testing.assert_array_equal(both.gallery, -both.probe)
    assert both.of("probe", (4,))[0, 0] == 4.5
    assert both.moment[0, 0] == 0.5
