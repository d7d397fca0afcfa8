"""Experiments run a protocol as a user would with match(), and count what came out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from meetmid.errors import ConfigError, InputError
from meetmid.evaluation.ladder import HEADLINE, climb, ladder_config, steps, subset_rank1
from meetmid.evaluation.protocols import PairProtocol, Sample, SearchProtocol
from meetmid.resize import resize, to_uint8
from meetmid.studies import lowered, pair_study, search_study, simulated
from meetmid.templates.pool import TemplatePool


def sample(name: str, subject: str, picture: object, **extra: object) -> Sample:
    return Sample(name, subject, picture, **extra)


@pytest.fixture
def protocol(face) -> SearchProtocol:
    gallery = tuple(sample(f"g{k}", f"P{k}", face(k, 60)) for k in range(5))
    probes = tuple(sample(f"p{k}", f"P{k % 5}", face(k % 5, 20 + k)) for k in range(8))
    return SearchProtocol("tiny set", gallery, probes)


def test_a_study_is_the_match_of_its_pictures(small, protocol: SearchProtocol, face) -> None:
    with small() as matcher:
        study = search_study(matcher, protocol, draws=20)
        plain = matcher.match([s.picture for s in protocol.probes], [s.picture for s in protocol.gallery])
    assert np.array_equal(study.result.scores, plain.scores)
    assert study.result.probe_ids == tuple(s.id for s in protocol.probes)
    hits = sum(plain.scores[k].argmax() == k % 5 for k in range(8))
    assert next(m for m in study.measures if m.name == "rank-1").k == hits
    assert not study.rungs
    assert study.failed == ()


def test_failures_are_counted_and_named(small, protocol: SearchProtocol, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    probes = (*protocol.probes, sample("bad", "P1", broken))
    with small() as matcher:
        study = search_study(matcher, SearchProtocol("t", protocol.gallery, probes), draws=20)
    assert [(side, name) for side, name, _ in study.failed] == [("probe", "bad")]
    assert (study.measures[0].name, study.measures[0].k, study.measures[0].n) == ("failure to acquire", 1, 9)


def test_lowered_probes_are_crops_whatever_the_configuration_says(small, protocol: SearchProtocol, monkeypatch) -> None:
    with small() as matcher:
        samples = lowered(protocol.probes, matcher, 12)
    assert [s.picture.shape for s in samples] == [(12, 12, 3)] * 8
    assert np.array_equal(samples[2].picture, cv2.resize(protocol.probes[2].picture, (12, 12), interpolation=cv2.INTER_AREA))
    assert np.array_equal(samples[2].truth, protocol.probes[2].picture)
    assert samples[2].tag("cut") == "crop"
    with small() as matcher, pytest.raises(InputError, match="at least 4 px"):
        lowered(protocol.probes, matcher, 2)


def test_simulated_probes_repeat_by_seed_and_say_so(small, protocol: SearchProtocol) -> None:
    with small() as matcher:
        first, again, other = (simulated(protocol, matcher, 16, seed) for seed in (1, 1, 2))
    assert first.name == "tiny set, simulated far camera of 16 px"
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(first.probes, again.probes, strict=True))
    assert not np.array_equal(first.probes[0].picture, other.probes[0].picture)
    assert first.gallery is protocol.gallery


@pytest.mark.parametrize("changes", [{}, {"covered_by": "hat"}, {"sharp_between": (5, 80)}, {"identity": False}], ids=str)
def test_quality_is_that_of_the_largest_scale_without_blur(small, protocol: SearchProtocol, changes) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    with small(**changes) as matcher:
        low = lowered(protocol.probes, matcher, 12)
        study = search_study(matcher, SearchProtocol("t", protocol.gallery, low), draws=20)
        wanted = []
        for s in low:
            made = next(picture for what, picture in matcher.show_probe(s.picture) if what.scale == 4 and what.sigma == 0)
            wanted.append(peak_signal_noise_ratio(to_uint8(resize(s.truth, made.shape[:2])), made))
    found = {m.name: m.value for m in study.measures}
    assert found["PSNR"] == pytest.approx(np.mean(wanted), abs=1e-6)
    assert 0 < found["SSIM"] < 1


def test_each_probe_is_lifted_at_its_own_of_several_sizes(small, protocol: SearchProtocol) -> None:
    with small(lr_size=(12, 22)) as matcher:
        low = lowered(protocol.probes, matcher, 12)
        study = search_study(matcher, SearchProtocol("t", protocol.gallery, low), draws=20)
        sizes = {next(p.shape[0] for what, p in matcher.show_probe(s.picture) if what.scale == 4) for s in low}
    assert sizes <= {48, 88}
    assert {"PSNR", "SSIM"} <= {m.name for m in study.measures}
    with small(lr_size=(12, 22)) as matcher, pytest.raises(ConfigError, match=r"expects one lr_size, got \(12, 22\)"):
        search_study(matcher, protocol, centrings=("none",))


def test_the_ladder_has_no_covered_scale(small, protocol: SearchProtocol) -> None:
    with small(covered_by="mask") as matcher, pytest.raises(ConfigError, match="expects covered_by='nothing', got 'mask'"):
        search_study(matcher, protocol, centrings=("none",))
    with pytest.raises(ConfigError, match="the ladder fixes covered_by itself"):
        ladder_config(covered_by="mask")


def test_arrays_are_rgb_even_for_a_matcher_that_takes_bgr(small, protocol: SearchProtocol) -> None:
    with small() as rgb, small(color="bgr") as bgr:
        first, second = (search_study(matcher, protocol, draws=10) for matcher in (rgb, bgr))
    assert np.array_equal(first.result.scores, second.result.scores)


@pytest.mark.parametrize("options", [{"color": "bgr"}, {"faces": "detect"}])
def test_the_truth_of_a_lowered_probe_is_its_crop_as_it_was(small, protocol: SearchProtocol, monkeypatch, options) -> None:
    def quality(matcher):
        return [m for m in search_study(matcher, easier, draws=10).measures if m.name in ("PSNR", "SSIM")]

    with small() as plain:
        easier = replace(protocol, probes=lowered(protocol.probes, plain, 12))
        wanted = quality(plain)
    assert len(wanted) == 2
    with small(detector=Nothing(), **options) as matcher:
        monkeypatch.setattr("meetmid.studies._hints", lambda matcher, samples: {s.id: "crop" for s in samples})
        assert quality(matcher) == wanted


def test_crops_too_small_for_a_step_are_named_or_left_out(small, protocol: SearchProtocol, face) -> None:
    with small(scales=()) as matcher:
        with pytest.raises(InputError, match=r"^tiny: expected face crops of at least 12 px"):
            lowered([sample("tiny", "P0", face(0, 9))], matcher, 12)
        seen = tuple(
            replace(s, picture=face(k, 10), truth=face(k, 10), tags=(("cut", "crop"),)) for k, s in enumerate(protocol.probes)
        )
        study = search_study(matcher, replace(protocol, probes=seen), draws=5)
    assert not any(m.name == "SSIM" for m in study.measures)
    assert any(m.name == "rank-1" for m in study.measures)


class Nothing:
    """Finds no face."""

    def detect(self, image: np.ndarray) -> list[object]:
        return []


def test_pairs_are_compared_fold_by_fold(small, face, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    people = [sample(f"a{k}", f"P{k}", face(k, 60)) for k in range(6)]
    others = [sample(f"b{k}", f"P{k}", face(k, 30)) for k in range(5)] + [sample("bad", "P5", broken)]
    pairs = [(k, k) for k in range(6)] + [(k, (k + 1) % 5) for k in range(6)]
    protocol = PairProtocol(
        "pairs", tuple(people[a] for a, _ in pairs), tuple(others[b] for _, b in pairs), np.arange(12) < 6,
        np.tile(np.arange(6) // 3, 2),
    )
    with small() as matcher:
        study = pair_study(matcher, protocol)
        whole = matcher.match([s.picture for s in others], [s.picture for s in people])
    wanted = np.array([whole.scores[b, a] for a, b in pairs])
    assert np.array_equal(study.scores, wanted, equal_nan=True)
    assert np.isnan(study.scores[5])
    assert [name for _, name, _ in study.failed] == ["bad"]
    assert next(m for m in study.measures if m.name == "failed pairs").k == 1


def test_the_ladder_starts_at_the_bare_matcher_and_ends_at_the_whole_scheme(small, tiny, tiny_family, face) -> None:
    config = ladder_config("len<=1", faces="crop", lr_size=12, work_size=48, sigmas=(0.0, 1.0))
    gallery = tuple(sample(f"g{k}", f"P{k}", face(k, 60)) for k in range(3))
    probes = tuple(sample(f"p{k}", f"P{k}", face(k, 20)) for k in range(3))
    with small(config) as matcher:
        study = search_study(matcher, SearchProtocol("t", gallery, probes), centrings=("none", "set"), draws=10)
        plain = small(config=type(config)(scales=(), centering="none", faces="crop", paths=((),)))
        bare = plain.match([s.picture for s in probes], [s.picture for s in gallery])
    names = [r.step for r in study.rungs]
    assert len(set(names)) == len(steps((4, 2), (4, 12))) == len(names) // 2
    baseline = next(r for r in study.rungs if r.step == "baseline" and r.centring == "none")
    assert baseline.hits.tolist() == [bool(bare.scores[k].argmax() == k) for k in range(3)]
    assert HEADLINE in names
    assert all(len(r.hits) == 3 for r in study.rungs)


def test_subsets_are_what_they_would_be_without_the_others() -> None:
    rng, count = np.random.default_rng(0), 60
    names = [f"s{k:02}" for k in range(count)]
    sites, people = 3 * rng.normal(size=(2, 16))[np.arange(count) % 2], rng.normal(size=(count, 16))

    def pool(hypotheses: int) -> TemplatePool:  # two sites, each with a mean of its own
        rows = (people + sites)[:, None, None] + 1.2 * rng.normal(size=(count, 4, hypotheses, 16))
        return TemplatePool(rows.astype(np.float32), np.ones((count, 4, hypotheses), np.float32), np.arange(count + 1))

    probes, gallery, found = pool(2), pool(3), []
    for chosen in (frozenset(names[::2]), frozenset(names[1::2]), frozenset(names[:20])):
        kept = [k for k in range(count) if names[k] in chosen]
        rungs = climb(probes.part(kept, 10**9), gallery.part(kept, 10**9), sorted(chosen), sorted(chosen), ["set"])
        alone = next(r for r in rungs if r.step == HEADLINE)
        found.append(subset_rank1(probes, gallery, names, names, [chosen])[0])
        assert found[-1] == pytest.approx(100 * alone.hits.mean())
    assert min(found) < 100
    with pytest.raises(InputError, match="in every subset"):
        subset_rank1(probes, gallery, names, names, [frozenset({"nobody"})])


def test_the_ladder_refuses_what_it_fixes() -> None:
    for options in ({"scales": (2,)}, {"sharp_between": (2.0, 3.0)}, {"identity_weight": 2.0}, {"select": "best"}):
        with pytest.raises(ConfigError, match=f"the ladder fixes {next(iter(options))} itself"):
            ladder_config(**options)
    with pytest.raises(ConfigError, match="the ladder expects paths of degradations, got 'none'"):
        ladder_config("none")


def test_percentages_are_truncated_as_published() -> None:
    from meetmid.evaluation.ladder import Rung

    rung = Rung("x", "none", np.arange(650) < 259, np.arange(650) % 130)
    assert (rung.k, rung.percent) == (259, 39.84)


def test_masks_choose_the_hypotheses_of_a_step(small, protocol: SearchProtocol) -> None:
    """The headline step is the matcher's own score with the same rules and without identity hypotheses."""
    config = ladder_config("len<=1", faces="crop", lr_size=12, work_size=48, sigmas=(0.0, 1.0))
    with small(config) as matcher:
        probes = matcher.lift([s.picture for s in protocol.probes])
        gallery = matcher.enroll([s.picture for s in protocol.gallery])
        rungs = list(climb(probes.pool, gallery.pool, protocol.probe_subjects, protocol.gallery_subjects, ("vector",)))
    own = type(config).from_dict({
        **config.to_dict(), "identity": False, "centering": "vector", "probe_rule": "S_add", "gallery_rule": "S_max",
        "paths": [p for p in config.to_dict()["paths"] if p],
    })
    with small(own) as matcher:
        scores = matcher.match([s.picture for s in protocol.probes], [s.picture for s in protocol.gallery]).scores
    wanted = [bool(row.argmax() == k % 5) for k, row in enumerate(scores)]
    assert next(r for r in rungs if r.step == HEADLINE).hits.tolist() == wanted
