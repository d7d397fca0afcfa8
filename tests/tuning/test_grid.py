"""What is tried scores as the configuration that it becomes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from meetmid.config import MatchConfig
from meetmid.evaluation.choices import Grower
from meetmid.gallery.paths import format_path, select_paths
from meetmid.matcher import Matcher
from meetmid.tuning.grid import AS_IT_IS, FACE, RECOGNITION, Grid, options, templates, with_paths
from meetmid.tuning.people import People

PATHS = select_paths(("disk", "gauss_noise+downup", "gblur"))
NAMES = tuple("abcde")


@pytest.fixture(scope="module")
def people(face) -> People:
    portraits = tuple(face(k, 60) for k in range(5))
    return People(NAMES, portraits, (*NAMES, "a"), (tuple(face(k % 5, 18 + k) for k in range(6)),), ("real",), 0, ())


@pytest.fixture(scope="module")
def opened(tiny):
    return partial(Matcher, matcher=tiny, device="cpu", threads=1)


@pytest.mark.parametrize("base", [
    MatchConfig(faces="crop", keep_crops=False, hallucinator="edsr-recognition"),
    MatchConfig(faces="crop", keep_crops=False, flip=True, portrait_weight=3, identity_weight=2.0, degraded_by="probe"),
], ids=["plain", "weighted"])
def test_every_option_scores_as_its_configuration(base: MatchConfig, people: People, opened, tiny) -> None:
    grid = Grid((AS_IT_IS, *RECOGNITION, *FACE), PATHS, 1)
    bare = replace(base, scales=(2, 4), sigmas=(0.0, 0.4), paths="none", hallucinator="edsr-face", centering="none")
    with opened(config=bare) as learner:
        reference = learner.learn_means(list(people.views[0]), list(people.portraits))
    assert reference.moment is not None
    made = templates(grid, base, people, opened, 2**20)
    found = options(grid, base, made, people, reference, len(PATHS), 3)
    assert len({lift.name for lift in grid.lifts}) == 6
    kinds = {name.split("; ")[2] for name in found}
    assert kinds == {"none", "vector", "set", "reference", "reference, Z-norm"}
    rng = np.random.default_rng(0)
    sampled = [list(found)[k] for k in sorted(rng.choice(len(found), 12, replace=False))]
    for name in sampled:
        option, config = found[name]
        assert option.choice.names == tuple(format_path(path) for path in PATHS)
        for chosen in ([], [2], [1, 0]):
            if len(chosen) < option.least:
                continue
            grower = Grower(option.runs[0], option.choice)
            state = grower.start()
            for k in chosen:
                state = grower.grown(state, option.choice.masks[k])
            its = with_paths(config, [option.choice.names[k] for k in chosen])
            with opened(config=its, reference=reference) as matcher:
                assert matcher.config.score_norm == config.score_norm
                expected = matcher.match(list(people.views[0]), list(people.portraits)).scores
            np.testing.assert_allclose(grower.scores(state), expected, rtol=2e-5, atol=2e-5, err_msg=f"{name} {chosen}")


def test_without_means_of_its_scales_a_lift_is_not_centred_by_them(people: People, opened) -> None:
    base = MatchConfig(faces="crop", keep_crops=False)
    grid = Grid((AS_IT_IS, *RECOGNITION), PATHS, 1)
    with opened(config=replace(base, scales=(), paths="none", centering="none", flip=False)) as learner:
        reference = learner.learn_means(list(people.views[0]), list(people.portraits))
    found = options(grid, base, templates(grid, base, people, opened, 2**20), people, reference, 3, 3)
    assert {name.split("; ")[0] for name in found if "reference" in name} == {"as it is"}
    assert grid.scales == (4,)
