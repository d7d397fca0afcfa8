"""Pictures to templates: against ONNX's reference evaluator, batch for batch, and what is dropped."""

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from meetmid.errors import ModelError
from meetmid.resize import resize, to_float
from meetmid.runtime.sessions import Network
from meetmid.templates.extraction import Hypothesis, TemplateNetwork, normalized


def network(card, flip=False, normalize="raw"):
    return TemplateNetwork(Network(card, device="cpu", threads=1), flip=flip, normalize=normalize)


@pytest.fixture
def pictures(face):
    return np.stack([to_float(face(k, 32)) for k in range(11)])


@pytest.fixture
def blind(make_matcher, tmp_path):
    """A black picture gives a template of zeros."""
    return make_matcher(tmp_path / "blind", mean=[0.0] * 3, std=[1.0] * 3)


@pytest.fixture
def undefined(make_model, tmp_path):
    """A matcher that divides by the template's length: a black picture gives NaN."""
    weights = {"w": np.random.default_rng(0).normal(size=(3 * 8 * 8, 6)).astype(np.float32)}
    nodes = [
        helper.make_node("Flatten", ["input"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"]),
        helper.make_node("ReduceL2", ["y"], ["n"], axes=[1]), helper.make_node("Div", ["y", "n"], ["output"]),
    ]
    return make_model(tmp_path / "nan", nodes, weights, ["n", 6], "nan", {"size": [8, 8], "template_length": 6})


def test_templates_are_those_of_the_graph(tiny, pictures):
    planes = ((pictures * 255 - 127.5) / 127.5).transpose(0, 3, 1, 2).astype(np.float32)
    want = ReferenceEvaluator(str(tiny.path)).run(None, {"input": planes})[0]
    np.testing.assert_allclose(network(tiny).raw(pictures), want, rtol=1e-4, atol=1e-4)


def test_channel_order_is_the_cards(make_matcher, tmp_path, pictures):
    rgb, bgr = (make_matcher(tmp_path / order, channels=order) for order in ("rgb", "bgr"))
    assert np.array_equal(network(bgr).raw(pictures), network(rgb).raw(pictures[..., ::-1]))


def test_neither_position_nor_company_changes_a_bit(tiny, pictures):
    net = network(tiny)
    together = net.raw(pictures)
    assert np.array_equal(np.concatenate([net.raw(p[None]) for p in pictures]), together)
    order = np.random.default_rng(0).permutation(11)
    assert np.array_equal(net.raw(pictures[order]), together[order])
    other = TemplateNetwork(Network(tiny, device="cpu", threads=2), flip=False, normalize="raw")
    assert np.array_equal(other.raw(pictures[3:]), together[3:])


def test_flip_adds_the_mirror_images_template(tiny, pictures):
    net = network(tiny)
    assert np.array_equal(network(tiny, flip=True).raw(pictures), net.raw(pictures) + net.raw(pictures[:, :, ::-1].copy()))


def test_normalizing(tiny, pictures):
    rows = network(tiny).raw(pictures)
    unit = network(tiny, normalize="l2").raw(pictures)
    np.testing.assert_allclose(unit, rows / np.linalg.norm(rows, axis=1, keepdims=True), rtol=1e-5, atol=1e-7)
    standard = network(tiny, normalize="standardize").raw(pictures)
    centred = rows - rows.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(standard, centred / centred.std(axis=1, keepdims=True), rtol=1e-4, atol=1e-5)
    assert normalized(rows, "raw") is rows
    for how in ("l2", "standardize"):
        assert not normalized(np.zeros((1, 5), np.float32), how).any()
    assert not normalized(np.full((1, 7), 0.3, np.float32), "standardize").any()


def test_slots_are_filled_and_pictures_resized(tiny, face):
    net = network(tiny)
    templates, weights = np.zeros((2, 12, 24), np.float32), np.ones((2, 12))
    crops = [to_float(face(k, 20 + k)) for k in range(12)]
    hypotheses = [Hypothesis(c, ((0, k), (1, 11 - k))) for k, c in enumerate(crops)]
    assert net.extract(hypotheses, templates, weights) == 0
    for k, crop in enumerate(crops):
        row = net.raw(resize(crop, (32, 32))[None])[0]
        assert np.array_equal(templates[0, k], row)
        assert np.array_equal(templates[1, 11 - k], row)
    assert (weights == 1).all()
    assert net.extract([], templates, weights) == 0


@pytest.mark.parametrize("normalize", ["raw", "l2", "standardize"])
def test_zero_and_undefined_templates_are_dropped_and_counted(blind, undefined, face, normalize):
    good, black = to_float(face(1, 32)), np.zeros((32, 32, 3), np.float32)
    for card in (blind, undefined):
        net = network(card, normalize=normalize)
        templates, weights = np.zeros((2, 3, net.length), np.float32), np.full((2, 3), 2.0)
        slots = [Hypothesis(good, ((0, 0),)), Hypothesis(black, ((0, 1), (1, 1))), Hypothesis(good, ((1, 2),))]
        assert net.extract(slots, templates, weights) == 2
        assert weights.tolist() == [[2, 0, 2], [2, 0, 2]]
        assert not templates[:, 1].any()
        assert np.array_equal(templates[0, 0], templates[1, 2])
        assert templates[0, 0].any()


def test_models_that_do_not_fit_are_refused(make_matcher, make_hallucinator, tmp_path):
    with pytest.raises(ModelError, match="task is 'matcher'"):
        network(make_hallucinator(tmp_path / "sr", 2))
    wrong = network(make_matcher(tmp_path / "wrong", template_length=25))
    with pytest.raises(ModelError, match=r"25, got 24"):
        wrong.raw(np.zeros((1, 32, 32, 3), np.float32))
    unknown = network(make_matcher(tmp_path / "unknown", template_length=0))
    assert unknown.length == 24
