"""A saved calibration adds likelihood ratios to matches, and only to the scores it was learned from."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from meetmid.cli import main
from meetmid.errors import ConfigError, InputError
from meetmid.evaluation import Calibration, Trials, calibrate
from meetmid.result import MatchResult


@pytest.fixture
def sides(face):
    return [face(1, 20), face(2, 18), b"broken"], [face(1, 60), face(2, 48)]


@pytest.fixture
def learned(small, face) -> Calibration:
    """From other faces than those of ``sides``."""
    people = [f"s{k}" for k in range(6)]
    with small() as matcher:
        cohort = matcher.match([face(10 + k, 20) for k in range(6)], [face(10 + k, 60) for k in range(6)])
    trials = Trials.of(cohort.scores, people, people)
    mated, other = trials.split()
    if mated.mean() <= other.mean():  # the tiny network is no face matcher; a calibration needs scores that rise
        mated, other = other, mated
    return calibrate(mated, other, made_with=cohort.made_with)


def test_candidates_carry_their_likelihood_ratio(small, sides, learned) -> None:
    with small(calibration=learned) as matcher:
        result = matcher.match(*sides)
    assert result.log10_lr() == pytest.approx(learned.llr(result.scores) / np.log(10), nan_ok=True)
    assert result.rank()[2] == []
    for row, scores in zip(result.rank(strength=1.0001), result.scores, strict=True):
        for candidate in row:
            assert candidate.log10_lr == pytest.approx(learned.log10_lr(scores[candidate.index]))
            assert candidate.decision == str(learned.decide(scores[candidate.index], 1.0001))
    assert (result.decisions(1e9) == "no decision").all()
    assert result.warnings[0].startswith("likelihood ratios hold for pictures like those of the calibration")


def test_a_calibration_is_kept_with_the_result(small, sides, learned, tmp_path: Path) -> None:
    learned.save(tmp_path / "c.json")
    with small(calibration=tmp_path / "c.json") as matcher:
        result = matcher.match(*sides)
    for name in ("r.npz", "r.json"):
        result.save(tmp_path / name)
        assert MatchResult.load(tmp_path / name).calibration == learned
        assert MatchResult.load(tmp_path / name).rank() == result.rank()


def test_other_scores_are_refused(small, learned) -> None:
    with pytest.raises(ConfigError, match="for other scores: config differ"):
        small(calibration=learned, seed=5)


def test_without_a_calibration_there_is_no_likelihood_ratio(small, sides) -> None:
    with small() as matcher:
        result = matcher.match(*sides)
    assert result.rank()[0][0].log10_lr is None
    with pytest.raises(InputError, match="not calibrated"):
        result.log10_lr()
    with pytest.raises(InputError, match="not calibrated"):
        result.decisions()


def test_the_command_line_prints_ratios_and_decisions(tmp_path: Path, face, tiny, tiny_family, capsys) -> None:
    from PIL import Image

    for side, size in (("probes", 20), ("gallery", 60)):
        (tmp_path / side).mkdir()
        for k in range(2):
            Image.fromarray(face(k, size)).save(tmp_path / side / f"{k}.png")
    calibrate([0.9, 0.8], [0.1, 0.2]).save(tmp_path / "c.json")
    arguments = [
        str(tmp_path / "probes"), str(tmp_path / "gallery"), "--matcher", str(tiny.path.parent), "--hallucinator", tiny_family,
        "--preset", "plain", "--centering", "none", "--calibration", str(tmp_path / "c.json"), "--strength", "1.5", "-q",
    ]
    assert main(["identify", *arguments, "-o", str(tmp_path / "out.csv")]) == 0
    printed = capsys.readouterr().out
    assert "LR 10^" in printed
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    calibration = Calibration.load(tmp_path / "c.json")
    for row in rows:
        assert float(row["log10_lr"]) == pytest.approx(float(calibration.log10_lr(float(row["score"]))))
        assert row["decision"] == str(calibration.decide(float(row["score"]), 1.5))


def test_a_calibration_is_for_its_reference_means(small, tiny, face) -> None:
    from dataclasses import replace

    with small(centering="none") as matcher:
        means = matcher.learn_means([face(k, 20) for k in range(4)], [face(k, 60) for k in range(4)])
    sides = [face(k, 20) for k in range(8, 11)], [face(k, 60) for k in range(8, 11)]
    with small(centering="reference", reference=means) as matcher:
        learned = calibrate([0.9, 0.8], [0.1, 0.2], made_with=matcher.match(*sides).made_with)
        assert "reference means" in learned.made_with
    with small(centering="reference", reference=means, calibration=learned) as matcher:
        assert matcher.match(*sides).rank()[0][0].log10_lr is not None
    other = replace(means, probe=means.probe + np.float32(0.01))
    with pytest.raises(ConfigError, match="for other scores: reference means differ"):
        small(centering="reference", reference=other, calibration=learned)


def test_set_centred_scores_cannot_be_calibrated(small, face) -> None:
    sides = [face(k, 20) for k in range(3)], [face(k, 60) for k in range(3)]
    with small(centering="set") as matcher, pytest.raises(ConfigError, match="no calibration holds for another run"):
        _ = matcher.match(*sides).made_with
    with pytest.raises(ConfigError, match="no calibration holds for another run"):
        small(centering="set", calibration=calibrate([0.9, 0.8], [0.1, 0.2]))
