"""Templates in several files, against one array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side
from meetmid.templates.stored import Shard, StoredTemplates, concatenated, cut_of, encoded, part_of


@st.composite
def stored(draw):
    """Stored templates and the same as one array."""
    pattern = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    parts, arrays = [], []
    for count in draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)):
        rows = rng.standard_normal((count, *pattern), np.float32)
        coded, steps = encoded(rows, draw(st.sampled_from(["float32", "float16", "int8"])))
        exact = coded.astype(np.float32) * (1 if steps is None else steps[..., None])
        start = draw(st.integers(0, count - 1))
        stop = draw(st.integers(start + 1, count))
        parts.append(StoredTemplates.of(Shard(coded, steps), pattern).part(start, stop))
        arrays.append(exact[start:stop])
    return concatenated(pattern, parts), np.concatenate(arrays)


@settings(max_examples=60)
@given(stored(), st.data())
def test_reads_as_one_array(pair, data):
    templates, array = pair
    assert templates.shape == array.shape
    assert len(templates) == len(array)
    assert np.array_equal(np.asarray(templates), array)
    assert all(np.array_equal(one, other) for one, other in zip(templates, array, strict=True))
    flat = array.reshape(-1, array.shape[-1])
    index = np.array(data.draw(st.lists(st.integers(0, len(flat) - 1), max_size=12)), np.int64)
    assert np.array_equal(templates.take(index), flat[index])
    assert np.array_equal(templates.take(np.arange(len(flat))), flat)
    start = data.draw(st.integers(0, len(array)))
    stop = data.draw(st.integers(start, len(array)))
    assert np.array_equal(np.asarray(part_of(templates, start, stop)), array[start:stop])
    scale = data.draw(st.integers(0, array.shape[1] - 1))
    one = templates.cut(slice(scale, scale + 1), slice(None))
    assert np.array_equal(np.asarray(one), array[:, scale : scale + 1])
    assert np.array_equal(one.take(np.arange(len(one) * array.shape[2])), array[:, scale].reshape(-1, array.shape[-1]))
    first = data.draw(st.integers(0, array.shape[2] - 1))
    some = cut_of(templates, slice(None), slice(first, first + 2))
    assert some.pattern == array[:, :, first : first + 2].shape[1:]
    assert np.array_equal(np.asarray(some), cut_of(array, slice(None), slice(first, first + 2)))


@settings(max_examples=30)
@given(stored(), st.sampled_from(["all", "same_scale"]))
def test_scores_are_those_of_the_array(pair, pairing):
    templates, array = pair
    probes = np.random.default_rng(0).standard_normal((2, *array.shape[1:]), np.float32)
    p = Side(probes, np.ones(probes.shape[:3], np.float32), np.arange(3))
    weights, first = np.ones(array.shape[:3], np.float32), np.array([0, len(array)])
    rules = [("S_add", "S_max"), ("T_add", "T_add"), ("S_max", "S_add"), ("T_concat", "T_concat")]
    one, other = (fuse_sides(p, Side(t, weights, first), rules, pairing=pairing) for t in (templates, array))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_rows_next_to_each_other_are_not_copied():
    rows = np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3)
    templates = StoredTemplates.of(Shard(rows), (2, 2, 3))
    assert np.shares_memory(templates.take(np.arange(2, 7)), rows)
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(templates, copy=False)


def test_zero_rows_are_kept_zero():
    rows = np.zeros((1, 1, 2, 4), np.float32)
    rows[0, 0, 1] = 1e-30, -1e-30, 0, 1e-38
    for kind in ("float16", "int8"):
        coded, steps = encoded(rows, kind)
        made = np.asarray(StoredTemplates.of(Shard(coded, steps), (1, 2, 4)))
        assert np.isfinite(made).all()
        assert not made[0, 0, 0].any()
