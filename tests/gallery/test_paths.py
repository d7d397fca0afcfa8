"""Paths: counts, canonical order, bijections, selections, refusals."""

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetmid.errors import ConfigError, InputError
from meetmid.gallery.paths import (
    DEGRADATIONS,
    degradation_paths,
    format_path,
    parse_path,
    path_at,
    path_bytes,
    path_index,
    select_paths,
    typed_paths,
)

names = st.sampled_from(DEGRADATIONS)
any_path = st.lists(names, min_size=1, max_size=3).map(tuple)


def test_canonical_names():
    assert DEGRADATIONS == (
        "gauss_noise", "speckle", "color", "bright", "motion", "gblur", "disk", "persp", "shear", "downup", "pshuf",
    )


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({}, 1463), ({"max_length": 1}, 11), ({"max_length": 2}, 132), ({"identity": True}, 1464),
        ({"repetition": False}, 1111), ({"repetition": False, "ordered": False}, 231),
        ({"ordered": False}, 11 + 66 + 286),
    ],
)
def test_counts_without_duplicates(arguments, count):
    paths = degradation_paths(**arguments)
    assert len(paths) == len(set(paths)) == count
    assert paths == sorted(paths, key=lambda p: (len(p), [DEGRADATIONS.index(name) for name in p]))


def test_identity_comes_first():
    assert degradation_paths(identity=True)[0] == ()


def test_storage_index_is_the_canonical_position():
    paths = degradation_paths()
    assert [path_index(p) for p in paths] == list(range(1463))
    assert [path_at(i) for i in range(1463)] == paths


@given(any_path)
def test_storage_index_formula(path):
    a, b, c = (*path_bytes(path), 0, 0)[:3]
    assert path_index(path) == {1: a, 2: 11 + 11 * a + b, 3: 132 + 121 * a + 11 * b + c}[len(path)]
    assert path_at(path_index(path)) == path


@given(st.lists(names, max_size=3).map(tuple))
def test_text_round_trip(path):
    assert parse_path(format_path(path)) == path


def test_text_forms():
    assert format_path(("gblur", "downup")) == "gblur+downup"
    assert format_path(()) == "identity"
    assert parse_path(" gblur + downup ") == ("gblur", "downup")
    assert path_bytes(("gauss_noise", "bright", "pshuf")) == b"\x00\x03\x0a"


@pytest.mark.parametrize("text", ["", "blur", "gblur+", "identity+gblur", "gblur-downup"])
def test_unknown_names_are_refused_with_the_known_ones(text):
    with pytest.raises(InputError, match=r"gauss_noise.*pshuf"):
        parse_path(text)


def test_misuse_is_refused():
    with pytest.raises(InputError, match="at most 3"):
        path_bytes(("disk",) * 4)
    with pytest.raises(InputError, match="parse_path"):
        path_bytes("disk")
    with pytest.raises(InputError, match="identity"):
        path_index(())
    for index in (-1, 1463):
        with pytest.raises(InputError, match="1462"):
            path_at(index)
    for length in (0, 4):
        with pytest.raises(ConfigError, match="1 to 3"):
            degradation_paths(length)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("all", 1463), ("len<=3", 1463), ("len<=2", 132), ("len<=1", 11), ("len=1", 11), ("len=2", 121),
        ("len=3", 1331), ("random:8", 8), ("random:1463", 1463), ("no-repeat", 1111), ("unordered", 231),
    ],
)
def test_named_selections(spec, count):
    chosen = select_paths(spec)
    assert len(chosen) == count
    assert () not in chosen
    assert list(chosen) == [p for p in degradation_paths() if p in set(chosen)]
    assert select_paths(spec + "+identity") == ((), *chosen)


def test_none_is_the_undegraded_portrait():
    assert select_paths("none") == select_paths("none+identity") == ((),)


def test_random_takes_the_smallest_node_hashes():
    def node_hash(path):
        return int.from_bytes(hashlib.blake2b(b"meetmid-node-1" + path_bytes(path)).digest()[:8], "little")

    ranked = sorted(degradation_paths(), key=node_hash)
    for k in (1, 8, 100):
        assert set(select_paths(f"random:{k}")) == set(ranked[:k])


@given(st.integers(1, 1463), st.integers(1, 1463))
def test_random_is_nested(j, k):
    small, large = sorted((j, k))
    assert set(select_paths(f"random:{small}")) <= set(select_paths(f"random:{large}"))


def test_explicit_lists_keep_their_order():
    assert select_paths([("disk",), "identity", "gblur+downup"]) == (("disk",), (), ("gblur", "downup"))
    assert select_paths([["disk", "color"]]) == (("disk", "color"),)


@pytest.mark.parametrize(
    "spec",
    ["", "len<=0", "len<=4", "len<3", "len=0", "random", "random:-1", "random:x", "gblur+downup", "+identity", "ALL"],
)
def test_unknown_selections_list_the_forms(spec):
    with pytest.raises(ConfigError, match=r"random:k.*unordered"):
        select_paths(spec)


@pytest.mark.parametrize("spec", ["random:0", "random:1464"])
def test_random_range(spec):
    with pytest.raises(ConfigError, match="1463"):
        select_paths(spec)


def test_bad_lists_are_refused():
    with pytest.raises(ConfigError, match="gblur\\+disk twice"):
        select_paths([("gblur", "disk"), "gblur+disk"])
    with pytest.raises(ConfigError, match="at least one"):
        select_paths([])
    with pytest.raises(InputError, match="unknown degradation 'blur'"):
        select_paths([("blur",)])


def test_paths_as_they_are_typed():
    for spec in ("all", "none", "len<=2", "len=1+identity", "random:4", "no-repeat", "unordered+identity"):
        assert typed_paths(spec) == select_paths(spec)
    assert typed_paths("gblur") == (("gblur",),)
    assert typed_paths("gblur+downup") == (("gblur", "downup"),)
    assert typed_paths("disk, identity,gblur+downup") == (("disk",), (), ("gblur", "downup"))
    for text in ("melt", "len<=4", "melt+gblur", ""):
        with pytest.raises(ConfigError, match=r"random:k.*; single paths are written as gblur\+downup,disk$"):
            typed_paths(text)
    with pytest.raises(ConfigError, match="gblur twice"):
        typed_paths("gblur,gblur")
    for text in ("gblur+melt", "gblur,melt", "gblur,len<=1", "gblur,"):
        with pytest.raises(InputError, match="unknown degradation"):
            typed_paths(text)


def test_import_is_light():
    code = "import sys, meetmid.gallery.paths; print({'numpy', 'cv2', 'numba'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
