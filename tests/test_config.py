"""The configuration: every field is checked when it is made, and what is accepted is plain and ready for JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from meetmid.config import DegradationOptions, MatchConfig
from meetmid.errors import ConfigError
from meetmid.presets import PRESETS, advised, configured, preset

NAN, INF = float("nan"), float("inf")

WRONG_MATCH = [
    *[("gallery_matcher", v) for v in (3, b"m", ("m",))],
    *[("identity_weight", v) for v in (0, -1, NAN, INF, "1", None, True)],
    *[("pixel_aspect", v) for v in (0, -1, 0.1, 5.1, NAN, INF, "1", None, True, (1, 2))],
    *[("scales", v) for v in [("2",), (2.0,), (True,), "2", 2, None, (0,), (2, 2), (NAN,), np.array(2), (None,), b"\x02"]],
    *[("sigmas", v) for v in ["x", [NAN], (INF,), (-INF,), (-0.1,), (), 0.5, ("0",), (True,), None, [[1]], (1j,), (10**400,)]],
    *[("lr_size", v) for v in ["24", 24.0, 20.5, 7, 0, -24, True, NAN, INF, (24,), np.float32(24)]],
    *[(name, v) for name in ("work_size", "degrade_size") for v in [20.5, "512", 7, False, NAN, [512]]],
    *[(name, v) for name in ("draws_per_node", "portrait_weight") for v in [1.5, 0, -1, "1", None, True, NAN]],
    *[("seed", v) for v in ["1", True, 1.0, -1, 2**64, None, NAN, np.float64(1)]],
    *[
        (name, v) for name in ("identity", "flip", "resolution_matching", "keep_crops", "even_light")
        for v in ("yes", 1, 0, None, 1.0)
    ],
    *[(name, v) for name in ("matcher", "hallucinator", "preset") for v in (3, None, b"edsr", Path("edsr"), True)],
    *[("detector", v) for v in (3, True, b"yunet:x", Path("yunet"))],
    *[("faces", v) for v in (np.zeros((2, 4)), np.array(["crop"]), "crops", None, 1, ["crop"], True)],
    *[
        (name, v) for name in (
            "color", "crop", "blur_at", "normalize", "centering", "probe_rule", "gallery_rule", "pairing", "order", "select",
            "portraits", "errors", "degraded_by", "score_norm", "covered_by",
        ) for v in ("", "none of them", None, 3, ["rgb"], np.array(["rgb", "bgr"]))
    ],
    *[("sharp_between", v) for v in (0, 36, (0, 9), (-1, 9), (9, 8), "36", True, (9, NAN), (36,), (1, 2, 3))],
    *[("paths", v) for v in (3, None, True, [3], [["gblur", 3]], [[["gblur"]]], b"all", 2.5)],
    *[("degradations", v) for v in (None, {"hue": 0.1}, "default", 3)],
]
WRONG_OPTIONS = [
    *[("hue", v) for v in ("a", NAN, INF, -0.1, None, True, (0.1,))],
    *[
        (name, v) for name in ("saturation", "brightness", "contrast")
        for v in [(1,), (1.4, 0.6), (-0.5, 1), (0.5, NAN), (NAN, 1), (0.5, INF), (1, 2, 3), (), 1.0, "ab", ("a", 1), (True, 2)]
    ],
    *[("persp_scale", v) for v in (0.5, -0.1, NAN, "0.1", None)],
    *[("shear", v) for v in (90, -1, NAN, "10", INF)],
    *[("patch", v) for v in (2.5, 0, -2, "2", True, NAN)],
    *[("downup_factors", v) for v in ((2.5,), (1,), (), 2, "22", (True,), (2, NAN))],
    *[(name, v) for name in ("quantize", "scale_kernels") for v in (1, "no", None)],
    *[
        (name, v) for name in (
            "noise_color", "speckle_dist", "brightness_mode", "contrast_about", "motion", "disk_kind", "shear_axes",
            "warp_border", "downup_up", "pshuf", "border", "resize", "draws",
        ) for v in ("", None, 2, ["rgb"])
    ],
]


@pytest.mark.parametrize(("name", "value"), WRONG_MATCH, ids=str)
def test_a_wrong_field_of_a_match_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} expects .*, got "):
        MatchConfig(**{name: value})


@pytest.mark.parametrize(("name", "value"), WRONG_OPTIONS, ids=str)
def test_a_wrong_degradation_option_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} expects .*, got "):
        DegradationOptions(**{name: value})


@pytest.mark.parametrize(("kind", "wrong"), [(MatchConfig, WRONG_MATCH), (DegradationOptions, WRONG_OPTIONS)])
def test_no_field_is_left_out(kind: type, wrong: list[tuple[str, object]]) -> None:
    assert {name for name, _ in wrong} == {f.name for f in fields(kind)}
    for f in fields(kind):
        with pytest.raises(ConfigError, match=rf"^{f.name} expects .*, got <object object at "):
            kind(**{f.name: object()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lr_size": "24"},
            "lr_size expects an integer of at least 8 px, two or more of them in rising order, or None for native, got '24'",
        ),
        (
            {"scales": (2.0,)},
            "scales expects distinct integers of at least 1 (1 = a translation; the picture itself is identity=True), got "
            "(2.0,)",
        ),
        ({"flip": 1}, "flip expects True or False, got 1"),
        ({"matcher": 3}, "matcher expects a string, got 3"),
        ({"color": "gbr"}, "color expects one of 'rgb', 'bgr', got 'gbr'"),
        ({"faces": np.zeros((1, 4))}, "got array([[0., 0., 0., 0.]])"),
        ({"scales": (), "identity": False}, "needs identity=True"),
    ],
)
def test_the_message_says_what_was_expected_and_got(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        MatchConfig(**change)


def test_a_message_stays_short() -> None:
    with pytest.raises(ConfigError) as caught:
        MatchConfig(faces=np.arange(900.0).reshape(300, 3))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_numbers_and_sequences_become_plain() -> None:
    odd = MatchConfig(
        scales=np.array([2, 4]), sigmas=[np.float32(0.5), 1, Fraction(1, 4)], lr_size=np.int64(24), work_size=np.uint16(64),
        draws_per_node=np.int8(1), seed=np.uint64(2**64 - 1), paths=[["gblur"], ("disk", "gauss_noise"), "motion+persp"],
        degradations=DegradationOptions(
            hue=np.float64(0.25), saturation=[1, 1], contrast=np.array([0.5, 1.5]), downup_factors=[np.int32(3)],
            patch=np.int16(4), shear=0,
        ),
    )
    plain = MatchConfig(
        scales=(2, 4), sigmas=(0.5, 1.0, 0.25), lr_size=24, work_size=64, draws_per_node=1, seed=2**64 - 1,
        paths=(("gblur",), ("disk", "gauss_noise"), "motion+persp"),
        degradations=DegradationOptions(
            hue=0.25, saturation=(1.0, 1.0), contrast=(0.5, 1.5), downup_factors=(3,), patch=4, shear=0.0
        ),
    )
    assert repr(odd) == repr(plain)  # numpy's numbers and integers in place of floats would show
    assert odd.hash() == plain.hash()
    assert json.loads(json.dumps(odd.to_dict())) == plain.to_dict()


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_its_dictionary(name: str) -> None:
    config = replace(preset(name), paths=[["gblur", "disk"], []], degradations=DegradationOptions(patch=4, contrast=(0, 0)))
    again = MatchConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert (again.hash(), again.gallery_hash()) == (config.hash(), config.gallery_hash())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "configuration keys expect a dictionary, got list"),
        ({"colour": "rgb"}, r"unknown configuration keys \['colour'\]; known are \['blur_at', "),
        ({3: 4}, r"unknown configuration keys \['3'\]"),
        ({"degradations": {"hew": 1}}, r"unknown degradation options \['hew'\]; known are \['border', "),
        ({"degradations": None}, "degradations expects a DegradationOptions, got None"),
        ({"degradations": [1]}, "degradation options expect a dictionary, got list"),
        ({"degradations": {"hue": "a"}}, "hue expects a finite number of turns"),
        ({"scales": ["2"]}, "scales expects distinct integers"),
    ],
)
def test_a_wrong_dictionary_is_refused(values: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MatchConfig.from_dict(values)


def test_a_dictionary_without_a_key_is_refused_but_for_later_ones() -> None:
    whole = PRESETS["balanced"].to_dict()
    for kept in ({}, {"preset": "balanced"}, {key: value for key, value in whole.items() if key != "paths"}):
        with pytest.raises(ConfigError, match=r"every key that to_dict\(\) gives, got none of .*paths"):
            MatchConfig.from_dict(kept)
    part = whole | {"degradations": {key: value for key, value in whole["degradations"].items() if key != "hue"}}
    with pytest.raises(ConfigError, match=r"got none of hue"):
        MatchConfig.from_dict(part)
    earlier = {key: value for key, value in MatchConfig().to_dict().items() if key not in ("covered_by", "degrade_size")}
    assert MatchConfig.from_dict(earlier) == MatchConfig()


def test_hashes_stay_what_they_were() -> None:
    """Enrolled galleries and learned means are bound to them."""
    hashes = {name: (config.hash(), config.gallery_hash()) for name, config in PRESETS.items()}
    assert hashes == {
        "plain": ("0f1da37def32e236", "212ea664fd3adc67"), "fast": ("32ab80f1dd87d33d", "924589b9deb2e926"),
        "balanced": ("ea1f1f754814caee", "42430c297c314935"), "accurate": ("84b91890f19340f1", "8fc47a247a55b5bb"),
        "paper": ("812964d57889b9a2", "50cb089200d38561"),
        "paper-set": ("6e487ee614797662", "50cb089200d38561"),
    }


OTHER_PROBE_SIDE = {
    "preset": "other", "errors": "raise", "keep_crops": False, "hallucinator": "other", "sigmas": (0.25,), "blur_at": "native",
    "centering": "none", "probe_rule": "S_max", "gallery_rule": "S_add", "pairing": "same_scale", "order": "probe_first",
    "select": "best", "portraits": "max", "faces": "crop", "color": "bgr", "detector": "yunet:x", "identity_weight": 2.0,
    "sharp_between": (16, 50), "even_light": True, "pixel_aspect": 0.5,
}
OTHER_GALLERY = {
    "matcher": "other", "crop": "box", "scales": (2,), "lr_size": 32, "identity": False, "paths": "none",
    "resolution_matching": False, "work_size": 256, "degrade_size": 128, "draws_per_node": 2,
    "degradations": DegradationOptions(patch=4), "flip": True, "normalize": "l2", "seed": 1, "portrait_weight": 2,
    "degraded_by": "probe", "covered_by": "hat",
}


def test_gallery_values_are_what_an_enrolled_gallery_depends_on() -> None:
    base = MatchConfig()
    elsewhere = {"gallery_matcher", "score_norm"}
    assert set(OTHER_PROBE_SIDE) | set(OTHER_GALLERY) | elsewhere == {f.name for f in fields(MatchConfig)}
    assert set(base.gallery_values()) == set(OTHER_GALLERY)
    assert replace(base, **OTHER_PROBE_SIDE).gallery_values() == base.gallery_values()
    assert replace(base, **OTHER_PROBE_SIDE).gallery_hash() == base.gallery_hash()
    for name, value in OTHER_GALLERY.items():
        changed = replace(base, **{name: value})
        ours, theirs = base.gallery_values(), changed.gallery_values()
        assert [key for key in ours if ours[key] != theirs[key]] == [name]
        assert changed.gallery_hash() != base.gallery_hash()
    asymmetric = replace(base, gallery_matcher="teacher")
    assert asymmetric.gallery_values()["matcher"] == "teacher"
    assert asymmetric.gallery_hash() == replace(base, matcher="teacher").gallery_hash()
    both = replace(asymmetric, degraded_by="probe")
    assert both.gallery_values()["matcher"] == "teacher+slimface-probe"
    assert both.gallery_hash() != replace(both, matcher="other").gallery_hash()
    normed = replace(base, gallery_rule="T_add")
    assert replace(normed, score_norm="z").gallery_hash() == base.gallery_hash()
    assert replace(normed, score_norm="z").hash() != normed.hash()


NORMED = MatchConfig(gallery_rule="T_add", score_norm="z")


@pytest.mark.parametrize("changes", [
    {"centering": "none"}, {"centering": "set"}, {"identity": False}, {"gallery_rule": "S_max"}, {"pairing": "same_scale"},
    {"portraits": "max"}, {"gallery_rule": "T_concat", "probe_rule": "T_concat"},
], ids=str)
def test_the_z_norm_needs_one_vector_per_portrait_and_a_cohort(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="score_norm='z' expects centering='reference'"):
        replace(NORMED, **changes)

    def made(**options: object) -> MatchConfig:
        return configured(NORMED, "m", None, None, None, options)

    assert made(**changes).score_norm == "none"
    with pytest.raises(ConfigError, match="score_norm='z' expects"):
        made(**changes, score_norm="z")
    assert made(seed=4).score_norm == "z"
    assert made(score_norm="none").score_norm == "none"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hallucinator": 3}, "hallucinator expects a string, got 3"),
        ({"fusion": "S_add"}, "fusion expects a pair"),
        ({"fusion": ("S_add",)}, "fusion expects a pair"),
        ({"fusion": ("S_add", "S_sum")}, "gallery_rule expects one of"),
        ({"options": {"colour": "rgb"}}, r"unknown options \['colour'\]; known are"),
    ],
)
def test_wrong_keywords_of_a_matcher_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(MatchConfig(), "m", **{"hallucinator": None, "detector": None, "fusion": None, "options": {}, **given})


def test_keywords_of_a_matcher_are_applied() -> None:
    config = configured(MatchConfig(), "m", Path("family"), "yunet:x", ["S_max", "S_add"], {"seed": np.int64(4)})
    assert config == MatchConfig(
        matcher="m", hallucinator="family", detector="yunet:x", probe_rule="S_max", gallery_rule="S_add", seed=4
    )


def test_importing_it_is_light() -> None:
    code = "import sys, meetmid.config; print(sorted({'numpy', 'cv2', 'scipy', 'PIL', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_cards_preset_changes_the_fields_it_names() -> None:
    table = {"balanced": {"scales": [], "paths": [["disk"], ["gauss_noise"]]}}
    got = advised("balanced", table)
    assert got == replace(preset("balanced"), scales=(), paths=(("disk",), ("gauss_noise",)))
    assert advised("plain", table) == preset("plain")
    assert advised("balanced", table, lifted=True) == replace(preset("balanced"), paths=(("disk",), ("gauss_noise",)))
    for field in ("scale", "seed", "gallery_matcher"):
        with pytest.raises(ConfigError, match=rf"a card's preset 'balanced' gives \['{field}'\]; it may give"):
            advised("balanced", {"balanced": {field: 2}})
    with pytest.raises(ConfigError, match="scales expects distinct integers"):
        advised("balanced", {"balanced": {"scales": "2"}})
