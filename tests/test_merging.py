"""Jobs that several processes share, merged to the same bits."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from meetmid import Gallery, InputError, MatchResult, StoreError
from meetmid.cli import main
from meetmid.errors import ConfigError
from meetmid.evaluation import calibrate

ENROLL = """
import sys
from meetmid import Matcher
folder, out, card, k = sys.argv[1:]
with Matcher("plain", matcher=card, faces="crop", device="cpu", threads=1) as matcher:
    matcher.enroll(folder, path=out, part=(int(k), 2))
"""


@pytest.fixture
def portraits(face, tmp_path):
    from meetmid.sheets import save_png

    for k in range(9):
        save_png(tmp_path / "portraits" / f"{k}.png", face(k, 40 + k))
    (tmp_path / "portraits" / "broken.png").write_bytes(b"broken")
    return tmp_path / "portraits"


def test_two_processes_enrol_a_gallery(reading, portraits, tiny, tmp_path):
    outs = [tmp_path / f"part{k}" for k in (1, 2)]
    runs = [
        subprocess.Popen([sys.executable, "-c", ENROLL, portraits, out, tiny.path.parent, str(k)], cwd=tmp_path)
        for k, out in enumerate(outs, 1)
    ]
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
    parts = [Gallery.open(out) for out in outs]
    assert sorted(parts[0].ids + parts[1].ids) == sorted(p.name for p in portraits.iterdir())
    assert all(parts)
    assert main(["gallery", "merge", str(tmp_path / "merged"), *map(str, outs)]) == 0
    whole = ["enroll", str(portraits), str(tmp_path / "whole"), "--matcher", str(tiny.path.parent)]
    assert main([*whole, "--preset", "plain", "--faces", "crop"]) == 1
    for kind in ("templates.npy", "weights.npy", "crops.bin"):
        files = [next((tmp_path / name).glob(f"*-{kind}")).read_bytes() for name in ("merged", "whole")]
        assert files[0] == files[1]
    merged, alone = Gallery.open(tmp_path / "merged"), Gallery.open(tmp_path / "whole")
    for name in ("ids", "status", "sources", "matcher", "lr_shape", "dropped"):
        assert getattr(merged, name) == getattr(alone, name)


def test_merging_keeps_how_templates_are_stored(small, face, tmp_path, capsys):
    with small() as matcher:
        for name, stored in (("a", "int8"), ("b", "int8"), ("c", "float16")):
            matcher.enroll([face(ord(name), 40)], ids=[name], path=tmp_path / name, stored=stored)
    merge = ["gallery", "merge", str(tmp_path / "whole"), str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(merge) == 0
    assert Gallery.open(tmp_path / "whole").stored == "int8"
    assert main([*merge, str(tmp_path / "c"), "--overwrite"]) == 2
    assert "stored as float16 and int8: say --stored" in capsys.readouterr().err
    assert main([*merge, str(tmp_path / "c"), "--overwrite", "--stored", "float32"]) == 0
    assert Gallery.open(tmp_path / "whole").stored == "float32"


def test_shares_depend_on_content_alone(small, face):
    pictures = [face(k, 40) for k in range(12)]
    with small() as matcher:
        shares = [matcher.enroll(pictures, part=(k, 3)).ids for k in (1, 2, 3)]
        assert sorted(sum(shares, ())) == sorted(map(str, range(12)))
        renamed = matcher.enroll(pictures[::-1], ids=[str(k) for k in range(12)][::-1], part=(2, 3)).ids
        assert set(renamed) == set(shares[1])
        for wrong in ((0, 2), (3, 2), (1, 0), 2, (1,), (1, 2, 3), (1.0, 2), ("1", "2"), None):
            with pytest.raises(ConfigError, match="part expects"):
                matcher.enroll(pictures, part=wrong)


def test_a_forgotten_or_repeated_share_is_named(small, face, portraits, tmp_path, capsys):
    paths = [tmp_path / f"part{k}" for k in (1, 2, 3)]
    with small() as matcher:
        whole = matcher.enroll(portraits)
        for k, path in enumerate(paths, 1):
            matcher.enroll(portraits, path=path, part=(k, 3))
        one, two, three = map(Gallery.open, paths)
        assert Gallery.merged([three, one, two], whole.ids).ids == whole.ids
        other = matcher.enroll([face(70, 40)], ids=["other"])
        assert len(Gallery.merged([one, other, two, three])) == len(whole) + 1
        with pytest.raises(InputError, match=r"once: share 2 of 3 is missing$"):
            Gallery.merged([one, three])
        with pytest.raises(InputError, match=r"once: share 1 of 3 is there 2 times, share 2 of 3 is missing$"):
            Gallery.merged([one, one, three])
        with pytest.raises(InputError, match="some of 2 and some of 3"):
            Gallery.merged([matcher.enroll(portraits, part=(1, 2)), two])
        assert main(["gallery", "merge", str(tmp_path / "g"), *map(str, paths[:2])]) == 2
        assert "share 3 of 3 is missing" in capsys.readouterr().err
        assert main(["gallery", "info", str(paths[1])]) == 0
        assert "share          2 of 3" in capsys.readouterr().out
        one.export(tmp_path / "one.npz")
        with pytest.raises(InputError, match="share 2 of 3 is missing"):
            Gallery.merged([Gallery.load(tmp_path / "one.npz"), three])
        (portraits / "3.png").write_bytes(b"changed")
        with pytest.raises(InputError, match="different sets of pictures"):
            Gallery.merged([one, matcher.enroll(portraits, part=(2, 3)), three])


def test_what_cannot_be_read_is_in_a_definite_share(small, portraits, tmp_path):
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
        for k in range(8):
            (folder / f"{k}.png").symlink_to(tmp_path / "nowhere")
    with small() as matcher:
        shares = [[matcher.enroll(folder, part=(k, 3)) for k in (1, 2, 3)] for folder in folders]
    assert [share.ids for share in shares[0]] == [share.ids for share in shares[1]]
    assert sorted(sum((share.ids for share in shares[0]), ())) == [f"{k}.png" for k in range(8)]
    assert len(Gallery.merged([shares[0][0], shares[1][1], shares[0][2]])) == 8


def test_parts_of_a_match_are_the_whole(small, face, portraits):
    probes = [face(k, 20 + k) for k in range(5)] + [b"broken"]
    names = [f"p{k}" for k in range(6)]
    with small(centering="none") as matcher:
        gallery = matcher.enroll(portraits)
        whole = matcher.match(probes, gallery)
        sides = [matcher.enroll(portraits, part=(k, 2)) for k in (1, 2)]
        columns = MatchResult.merged([matcher.match(probes, side) for side in sides])
        place = [columns.gallery_ids.index(name) for name in whole.gallery_ids]
        assert np.array_equal(columns.scores[:, place], whole.scores, equal_nan=True)
        assert [columns.gallery_status[k] for k in place] == list(whole.gallery_status)
        assert columns.probe_ids == whole.probe_ids
        ordered = Gallery.merged(sides, gallery.ids)
        assert np.array_equal(matcher.match(probes, ordered).scores, whole.scores, equal_nan=True)
        lifted = [matcher.lift(probes[a:b], ids=names[a:b]) for a, b in ((0, 2), (2, 6))]
        parts = [matcher.match(probe, gallery) for probe in lifted]
        rows = MatchResult.merged(parts)
        assert rows.probe_ids == tuple(names)
        assert np.array_equal(rows.scores, whole.scores, equal_nan=True)
        assert np.array_equal(rows.probe_size, whole.probe_size, equal_nan=True)
        assert rows.failed == (("probe", "p5", whole.probe_status[5]), *[f for f in whole.failed if f[0] == "gallery"])
        assert np.array_equal(rows.explain("p3", "4.png", matcher=matcher, gallery=gallery).probe_picture,
                              whole.explain(3, "4.png").probe_picture)
        again = MatchResult.merged([MatchResult.merged(parts[:1]), parts[1]])
        assert np.array_equal(again.scores, rows.scores, equal_nan=True)


def test_parts_carry_the_same_calibration(small, face):
    pictures = [face(k, 40) for k in range(4)]
    with small() as matcher:
        sides = [matcher.enroll(pictures[a : a + 2], ids=ids) for a, ids in ((0, "ab"), (2, "cd"))]
        plain, other = (matcher.match(pictures, side) for side in sides)
    one, two = calibrate([0.9, 0.8], [0.1, 0.2]), calibrate([0.9, 0.7], [0.1, 0.2])
    for calibrations in ((None, one), (one, None), (one, two)):
        parts = [replace(part, calibration=c) for part, c in zip((plain, other), calibrations, strict=True)]
        with pytest.raises(InputError, match="different calibrations, or only some carry one"):
            MatchResult.merged(parts)
    equal = calibrate([0.9, 0.8], [0.1, 0.2])
    whole = MatchResult.merged([replace(plain, calibration=one), replace(other, calibration=equal)])
    assert whole.calibration == one
    assert whole.log10_lr().shape == (4, 4)
    assert MatchResult.merged([plain, other]).calibration is None


def test_what_is_not_of_one_job_is_refused(small, face):
    pictures = [face(k, 40) for k in range(4)]
    with small() as matcher, small(seed=1) as other:
        one, two = matcher.enroll(pictures[:2], ids=["a", "b"]), matcher.enroll(pictures[2:], ids=["c", "d"])
        with pytest.raises(InputError, match="several parts"):
            Gallery.merged([one, one])
        with pytest.raises(InputError, match="missing, strange or twice"):
            Gallery.merged([one, two], ["a", "b", "c", "x"])
        with pytest.raises(InputError, match="at least one"):
            Gallery.merged([])
        with pytest.raises(StoreError, match="seed"):
            Gallery.merged([one, other.enroll(pictures[2:], ids=["c", "d"])])
        results = [matcher.match(pictures, side) for side in (one, two)]
        with pytest.raises(InputError, match="several parts"):
            MatchResult.merged([results[0], results[0]])
        with pytest.raises(InputError, match="different configurations"):
            MatchResult.merged([results[0], other.match(pictures, other.enroll(pictures[2:], ids=["c", "d"]))])
        with pytest.raises(InputError, match="neither the same probes"):
            MatchResult.merged([results[0], matcher.match(matcher.lift(pictures[:1], ids=["x"]), two)])
        with pytest.raises(InputError, match="at least one"):
            MatchResult.merged([])
    for options in ({"centering": "set"}, {"select": "best"}):
        with small(**options) as matcher:
            sides = [matcher.enroll(pictures[a : a + 2], ids=[f"{a}", f"{a + 1}"]) for a in (0, 2)]
            parts = [matcher.match(pictures, side) for side in sides]
            with pytest.raises(InputError, match="stay whole"):
                MatchResult.merged(parts)
