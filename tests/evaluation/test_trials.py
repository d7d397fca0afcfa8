"""Score matrices: who is who, what is left out, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from meetmid.errors import InputError
from meetmid.evaluation import Trials, acquisition
from meetmid.evaluation import trials as module

NAN = float("nan")


def test_pairs_are_split_by_person_without_the_ignored_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 6)  # two rows at a time
    rng = np.random.default_rng(0)
    scores, ignore = rng.normal(size=(7, 3)), rng.random((7, 3)) < 0.3
    probes, gallery = list("abcabca"), list("acb")
    mated, other = Trials.of(scores, probes, gallery, ignore).split()
    pairs = [(i, j) for i in range(7) for j in range(3) if not ignore[i, j]]
    assert mated.tolist() == [scores[i, j] for i, j in pairs if probes[i] == gallery[j]]
    assert other.tolist() == [scores[i, j] for i, j in pairs if probes[i] != gallery[j]]
    whole = Trials.of(scores, probes, gallery)
    assert [len(s) for s in whole.split()] == [7, 14]


def test_a_probe_has_a_mate_only_where_the_pair_counts() -> None:
    mask = np.array([[True, False], [False, False], [False, False]])
    assert Trials.of(np.zeros((3, 2)), ["a", "b", "c"], ["a", "b"]).has_mate.tolist() == [True, True, False]
    assert Trials.of(np.zeros((3, 2)), ["a", "b", "c"], ["a", "b"], mask).has_mate.tolist() == [False, True, False]


def test_selected_rows_and_columns_keep_their_people() -> None:
    trials = Trials.of(np.arange(6.0).reshape(3, 2), ["a", "b", "c"], ["b", "c"]).select([2, 1], np.array([False, True]))
    assert trials.scores.tolist() == [[5.0], [3.0]]
    assert [trials.names[n] for n in trials.probe_subjects] == ["c", "b"]
    assert [trials.names[n] for n in trials.gallery_subjects] == ["c"]


def test_float32_is_not_copied_and_whole_numbers_become_float() -> None:
    scores = np.zeros((2, 2), np.float32)
    assert Trials.of(scores, ["a", "b"], ["a", "b"]).scores is scores
    assert Trials.of([[1, 2]], ["a"], ["a", "b"]).scores.dtype == np.float64


def test_failures_are_counted_per_side() -> None:
    scores = np.array([[0.1, NAN, 0.2], [NAN, NAN, NAN], [0.3, NAN, NAN]])
    found = acquisition(Trials.of(scores, list("abc"), list("abc")))
    assert (found.probes, found.n_probes, found.gallery, found.n_gallery) == (1, 3, 1, 3)
    assert (found.fta, found.fte) == (1 / 3, 1 / 3)


@pytest.mark.parametrize(
    ("scores", "probes", "gallery", "ignore", "told"),
    [
        (np.zeros(3), ["a"], ["a"], None, r"matrix of scores \(P, G\), got shape \(3,\)"),
        (np.array([["x"]]), ["a"], ["a"], None, "matrix of scores"),
        (np.zeros((2, 1)), ["a"], ["a"], None, "subjects of 2 probe entries, got 1"),
        (np.zeros((1, 2)), ["a"], ["a"], None, "subjects of 2 gallery entries, got 1"),
        (np.zeros((2, 1)), ["a", ""], ["a"], None, "name for every probe entry, got none at 1"),
        (np.zeros((1, 2)), ["a"], ["a", None], None, "name for every gallery entry, got none at 1"),
        (np.array([[np.inf]]), ["a"], ["a"], None, "got infinite ones"),
        (np.zeros((1, 1)), ["a"], ["a"], np.zeros((2, 1), bool), r"mask of \(1, 1\) bool, got \(2, 1\)"),
        (np.zeros((1, 1)), ["a"], ["a"], np.zeros((1, 1)), "got \\(1, 1\\) of float64"),
    ],
)
def test_unusable_matrices_are_refused(scores, probes, gallery, ignore, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Trials.of(scores, probes, gallery, ignore)


def test_ids_are_looked_up_and_refused_where_double_or_unknown() -> None:
    subjects = {"p1": "ann", "p2": "bob", "g1": "ann"}
    trials = Trials.by_id([[1.0], [0.0]], ["p1", "p2"], ["g1"], subjects)
    assert trials.has_mate.tolist() == [True, False]
    with pytest.raises(InputError, match="every probe id once, got p1 more than once"):
        Trials.by_id([[1.0], [0.0]], ["p1", "p1"], ["g1"], subjects)
    with pytest.raises(InputError, match="identity of every gallery entry, got none for g9"):
        Trials.by_id([[1.0], [0.0]], ["p1", "p2"], ["g9"], subjects)
