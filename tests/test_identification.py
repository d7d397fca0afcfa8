"""The short way to the best candidates ends where the long one does."""

from dataclasses import replace

import numpy as np
import pytest

from meetmid.errors import InputError


@pytest.fixture(autouse=True)
def worth(monkeypatch):
    """Small galleries are not worth a short way: here they are."""
    monkeypatch.setattr("meetmid.identification.WORTH", 0.0)


@pytest.fixture
def many(face):
    return [face(seed, 40) for seed in range(70)]


def told(lists):
    return [[(c.id, c.index, c.rank, pytest.approx(c.score, abs=1e-6)) for c in row] for row in lists]


@pytest.mark.parametrize("changes", [
    {}, {"probe_rule": "S_max", "gallery_rule": "S_add"}, {"centering": "vector"}, {"portraits": "max"}, {"identity": False},
    {"sharp_between": (14, 14)}, {"sharp_between": (4, 40)}, {"stored": "int8"},
], ids=str)
@pytest.mark.parametrize("enrolled", [True, False])
def test_both_ways_find_the_same(small, many, probes, tmp_path, changes, enrolled):
    options = {"gallery_rule": "S_max", **changes}
    stored = options.pop("stored", "float32")
    with small(**options) as matcher:
        gallery = matcher.enroll(many, path=tmp_path / "g", stored=stored) if enrolled else many
        want = matcher.match(probes, matcher.enroll(many) if stored == "float32" else gallery).rank(2)
        found = matcher.identify(probes, gallery, 2, miss=1e-3)
        assert told(want) == [[(c.id, c.index, c.rank, c.score) for c in row] for row in found]
        assert matcher.identify(probes, gallery, 2) == want


@pytest.mark.parametrize("rules", [("S_add", "S_max"), ("S_max", "S_add"), ("S_max", "T_add")])
def test_sharp_entries_of_several_pictures_are_scored_by_the_rules(small, face, many, rules):
    groups = [[a, b] for a, b in zip(many[::2], many[1::2], strict=True)]
    probes = [[face(80, 60), face(81, 60)], [face(82, 8)]]
    with small(sharp_between=(14, 14), fusion=rules) as matcher:
        result = matcher.match(probes, groups)
        assert [size >= 14 for size in result.probe_size[:, 1]] == [True, False]
        assert told(result.rank(3)) == [
            [(c.id, c.index, c.rank, c.score) for c in row] for row in matcher.identify(probes, groups, 3, miss=1e-3)
        ]


def test_fewer_portraits_are_degraded_than_there_are(small, many, probes, monkeypatch):
    with small(gallery_rule="S_max") as matcher:
        seen = []
        whole = type(matcher.comparison).enrolled

        def enrolled(self, side, *args, **kwargs):
            seen.append((len(side), self.config.paths))
            return whole(self, side, *args, **kwargs)

        monkeypatch.setattr("meetmid.comparison.Comparison.enrolled", enrolled)
        monkeypatch.setattr("meetmid.scores.progressive.LEAST", 8)
        matcher.identify(probes[:1], many, 1, miss=0.4)
    assert seen[0] == (70, ((),))
    assert 8 <= sum(count for count, paths in seen if paths != ((),)) < 70


def test_a_set_of_enrolled_portraits_is_centred_as_a_whole(small, many, probes):
    with small(gallery_rule="S_max", centering="set") as matcher:
        gallery = matcher.enroll(many)
        assert told(matcher.match(probes, gallery).rank(3)) == [
            [(c.id, c.index, c.rank, c.score) for c in row] for row in matcher.identify(probes, gallery, 3, miss=1e-3)
        ]
        assert matcher.identify(probes, many, 3, miss=1e-3) == matcher.match(probes, many).rank(3)


def test_failures_and_hints_keep_their_places(small, many, probes):
    broken = [b"no picture", *many[:40]]
    boxes = {str(k): np.array([[2.0, 2.0, 30.0, 30.0]]) for k in (3, 7)}
    with small(gallery_rule="S_max") as matcher:
        faces = {"gallery": boxes}
        names = [c.id for c in matcher.match(probes, broken, faces=faces).rank(5)[0]]
        assert [c.id for c in matcher.identify(probes, broken, 5, faces=faces, miss=1e-3)[0]] == names
        lists = matcher.identify([b"", *probes], broken, 5, faces=faces, miss=1e-3)
        assert lists[0] == []
        assert [c.id for c in lists[1]] == names
        for miss in (-0.1, 1.0, float("nan")):
            with pytest.raises(InputError, match="miss expects"):
                matcher.identify(probes, many, miss=miss)


def test_small_galleries_are_compared_in_full(small, many, probes, monkeypatch):
    monkeypatch.setattr("meetmid.identification.WORTH", 2e7)
    monkeypatch.setattr("meetmid.matcher.short_way", None)
    with small(gallery_rule="S_max") as matcher:
        gallery = matcher.enroll(many)
        assert matcher.identify(probes, gallery, 3, miss=1e-3) == matcher.match(probes, gallery).rank(3)


def test_additive_rules_need_no_short_way(small, many, probes, monkeypatch):
    monkeypatch.setattr("meetmid.matcher.short_way", None)
    with small(gallery_rule="T_add", probe_rule="S_add") as matcher:
        assert matcher.identify(probes, many, 3, miss=1e-3) == matcher.match(probes, many).rank(3)
    with small(gallery_rule="S_max", select="best") as matcher:
        assert matcher.identify(probes, many, 3, miss=1e-3) == matcher.match(probes, many).rank(3)
    with small(gallery_rule="S_max", lr_size=None) as matcher:
        assert matcher.identify(probes, many, 3, miss=1e-3) == matcher.match(probes, many).rank(3)
        assert replace(matcher.config, select="all") == matcher.config
