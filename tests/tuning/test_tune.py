"""``meetmid tune`` from pictures to a configuration, on made-up faces with a tiny matcher."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import meetmid
from meetmid.cli import main
from meetmid.config import MatchConfig
from meetmid.errors import Cancelled, ConfigError, InputError, StoreError
from meetmid.evaluation.uncertainty import Interval
from meetmid.tuning import run
from meetmid.tuning.people import gathered
from meetmid.tuning.result import read_config

OPTIONS = {"faces": "crop", "sizes": (20,), "seeds": (0,), "device": "cpu", "threads": 1}


def person(face, k: int, picture: int) -> np.ndarray:
    """The k-th person's picture: their face with noise of its own."""
    rng = np.random.default_rng((k, picture))
    return np.clip(face(k, 60) + rng.normal(0, 6, (60, 60, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def portraits(face) -> list[list[np.ndarray]]:
    return [[person(face, k, picture) for picture in range(2)] for k in range(24)]


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Little is tried, so that it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("MANY", "len<=1"), ("FACE", ()), ("LENGTHS", ((2, 2),)), ("SCREENED", 1)):
            patch.setattr(run, name, value)
        yield


@pytest.fixture(scope="module")
def tuned(quick, portraits, tiny):
    seen: list[tuple[int, int, str]] = []
    found = meetmid.tune(portraits, matcher=tiny, progress=lambda *step: seen.append(step), **OPTIONS)
    return found, seen


def test_it_finds_a_configuration_and_says_what_it_is_worth(tuned, portraits, tiny) -> None:
    found, seen = tuned
    held = found.held_out
    assert (held.people, held.probes, held.searches) == (24, 24, 24 * held.repeats)
    assert held.gallery == 8
    assert found.pays == (held.gain.low > 0)
    assert held.gain.value == pytest.approx((held.hits - held.baseline_hits) / held.searches)
    assert found.config == (found.found if found.pays else found.baseline)
    assert found.models[tiny.name] == tiny.sha256
    assert found.tried["paths"] == 11
    assert any("simulated" in note for note in found.notes)
    assert any("no reference means" in note for note in found.notes)
    assert not any("portrait itself" in note for note in found.notes)
    told = str(found)
    assert f"{held.hits}/{held.searches}" in told
    assert ("no gain is shown" in told) != found.pays
    assert {stage for _, _, stage in seen} >= {"gallery", "cut", "probe", "screen", "select"}
    for stage in ("screen", "select"):
        steps = [(done, total) for done, total, its in seen if its == stage]
        assert [done for done, _ in steps] == list(range(1, steps[0][1] + 1))
    with meetmid.Matcher(config=found.config, matcher=tiny, device="cpu") as matcher:
        scores = matcher.match([picture for _, picture in portraits], [picture for picture, _ in portraits]).scores
    assert np.isfinite(scores).all()


def test_a_gain_that_is_not_shown_is_not_claimed(tuned) -> None:
    found, _ = tuned
    nothing = replace(found.held_out, gain=Interval(0.01, -0.01, 0.03, np.zeros(1)))
    lost = replace(found, held_out=nothing, config=found.baseline)
    assert not lost.pays
    assert "no gain is shown" in str(lost)
    assert "the tuned configuration is kept" not in str(lost)
    won = replace(found, held_out=replace(nothing, gain=Interval(0.05, 0.01, 0.09, np.zeros(1))), config=found.found)
    assert "the tuned configuration is kept" in str(won)
    assert "+5.0 points [+1.0, +9.0]" in str(won)


def test_the_file_holds_the_configuration_and_where_it_came_from(tuned, tmp_path: Path) -> None:
    found, _ = tuned
    found.save(tmp_path / "a.json")
    found.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    values = json.loads((tmp_path / "a.json").read_text())
    assert MatchConfig.from_dict(values["config"]) == found.config
    assert values["held_out"]["searches"] == found.held_out.searches
    assert values["versions"]["meetmid"] == meetmid.__version__
    assert read_config(tmp_path / "a.json") == (found.config, found.models)
    (tmp_path / "plain.json").write_text(json.dumps(found.config.to_dict()))
    assert read_config(tmp_path / "plain.json") == (found.config, {})
    for text in ("[]", "{", '{"format": "other"}', '{"format": "meetmid-tuned-1"}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(StoreError, match="expected a configuration"):
            read_config(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text('{"sigma": 1}')
    with pytest.raises(ConfigError, match="unknown configuration keys"):
        read_config(tmp_path / "bad.json")


def test_portraits_seen_by_the_camera_are_told(face) -> None:
    alone = [[person(face, k, 0)] for k in range(18)] + [[person(face, k, p) for p in range(2)] for k in range(18, 22)]
    found = gathered(alone, None)
    assert (found.simulated, found.same, len(found.far)) == (True, 18, 22)
    enough = [[person(face, k, p) for p in range(2)] for k in range(20)] + [[person(face, 20, 0)]]
    found = gathered(enough, None)
    assert (found.same, len(found.far), len(found.portraits)) == (0, 20, 21)  # the last one is an impostor


def test_nobody_is_on_both_sides_under_two_names(portraits, face) -> None:
    doubled = [*portraits, [portraits[3][1], person(face, 90, 0)]]
    with pytest.raises(InputError, match=r"of '24' and .* of '3' are the same picture.*their own impostor"):
        gathered(doubled, None)
    with pytest.raises(InputError, match="of '0' are the same picture: give it once"):
        gathered([[portraits[0][0], portraits[0][0]], *portraits[1:]], None)
    with pytest.raises(InputError, match=r"of '2' and .* of '1' are the same picture"):
        gathered(portraits, [[person(face, k, 7)] if k != 1 else [portraits[2][0]] for k in range(24)])


def test_too_few_people_and_strangers_are_refused(portraits, face, tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least 20 subjects who have a portrait.*got 19: add sub-folders"):
        meetmid.tune(portraits[:19], matcher=tiny, **OPTIONS)
    with pytest.raises(InputError, match="a portrait of the same name for every subject, got none of 24"):
        gathered(portraits, [[person(face, k, 7)] for k in range(25)])
    with pytest.raises(InputError, match="got 0; the first failure: 0: expected a face crop of at least 90"):
        meetmid.tune(portraits, matcher=tiny, **{**OPTIONS, "sizes": (90,)})
    (tmp_path / "a").mkdir()
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match="expected at least one picture, got none"):
        gathered(tmp_path, None)


@pytest.mark.parametrize(("options", "why"), [
    ({"minutes": 0}, "more than 0"), ({"sizes": ()}, "sizes of at least 4 px"), ({"sizes": (2,)}, "sizes of at least 4 px"),
    ({"seeds": ()}, "seeds"), ({"cameras": ()}, "cameras"),
    ({"minutes": 1e-6}, "expected to take .* minutes on this machine: give more"),
])
def test_bad_options_are_refused(portraits, tiny, options, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        meetmid.tune(portraits, matcher=tiny, **{**OPTIONS, **options})


def test_it_is_cancelled(portraits, tiny) -> None:
    with pytest.raises(Cancelled):
        meetmid.tune(portraits, matcher=tiny, progress=lambda done, total, stage: stage != "cut", **OPTIONS)


def test_the_shipped_pair_is_tuned_with_its_own_means(portraits) -> None:
    found = meetmid.tune(portraits[:20], **OPTIONS)
    assert found.baseline.matcher == "slimface-probe"
    assert not any("no reference means" in note for note in found.notes)
    assert found.tried["options"] == (3 * 4 + 2) + 2 * (6 * 4 + 4)  # rules by centrings, and Z-norm with those that add
    assert {"slimface-probe", "slimface-gallery"} <= set(found.models)
    assert ("reference means" in found.models) == (found.config.centering == "reference")
    assert found.found.degraded_by == "probe"  # as its card has it


def test_means_that_do_not_fit_are_refused(portraits, tiny) -> None:
    with meetmid.Matcher(device="cpu") as shipped:
        reference = shipped.reference
    with pytest.raises(ConfigError, match="reference means were learned for"):
        meetmid.tune(portraits[:20], matcher=tiny, reference=reference, **OPTIONS)


@pytest.fixture
def folder(tmp_path: Path, face, make_matcher, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty people with a portrait each and, in another folder, a real far picture; the matcher "small" is registered."""
    monkeypatch.chdir(tmp_path)
    meetmid.models.add(make_matcher(tmp_path / "made").path, name="small", like="arcface", size=[32, 32], license="MIT")
    for k in range(20):
        for side, size, picture in (("portraits", 60, 0), ("far", 18, 1)):
            path = tmp_path / side / f"P{k:02}" / "1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(person(face, k, picture)).resize((size, size)).save(path)
    return tmp_path


def test_the_command_writes_a_file_that_the_others_take(folder: Path, capsys) -> None:
    Path("portraits/P20").mkdir()
    Path("portraits/P20/1.png").write_bytes(b"no picture")
    base = ["--matcher", "small", "--faces", "crop", "--device", "cpu", "-q"]
    assert main(["tune", "portraits", "--probes", "far", "-o", "tuned.json", *base]) == 1
    told = capsys.readouterr()
    assert "20 people, 20 probes (real far pictures)" in told.out
    assert "failed portrait P20" in told.err
    assert "--config tuned.json --matcher small" in told.out
    config = read_config("tuned.json")[0]
    assert main(["match", "far", "portraits", "--config", "tuned.json", "-o", "x.json", "--matcher", "small", "-q"]) == 1
    assert json.loads(Path("x.json").read_text())["config"]["paths"] == config.to_dict()["paths"]
    assert main(["enroll", "portraits", "g", "--config", "tuned.json", "-q"]) == 1  # the file names the matcher
    assert main(["identify", "far", "g", "--config", "tuned.json", "-q"]) == 1
    assert main(["plan", "10", "10", "--config", "tuned.json", "-q"]) == 0
    capsys.readouterr()
    assert main(["match", "far", "portraits", "--config", "tuned.json", "--matcher", "midface-s", "-q"]) == 2
    assert "was tuned for other models: midface-s, small differ" in capsys.readouterr().err
    assert main(["plan", "10", "10", "--config", "tuned.json", "--all", "-q"]) == 2
    assert main(["tune", "portraits", "-o", "tuned.txt", *base]) == 2
    assert "saved as .json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["match", "far", "portraits", "--config", "tuned.json", "--preset", "fast"])
