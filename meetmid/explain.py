"""Makes the explanation of one score anew from the kept crops."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from meetmid.config import Rule
from meetmid.errors import InputError
from meetmid.gallery.hypotheses import gallery_picture
from meetmid.gallery.store import Gallery
from meetmid.probes.hypotheses import probe_heat, probe_names, probe_picture
from meetmid.resize import to_uint8
from meetmid.result import Explanation, MatchResult
from meetmid.scores.best import best_hypothesis
from meetmid.scores.fusion import fuse_sides
from meetmid.scores.provenance import decompose

if TYPE_CHECKING:
    from meetmid.matcher import Matcher

T = TypeVar("T")


def explain(result: MatchResult, p: int, g: int, matcher: Matcher | None, gallery: Gallery | None) -> Explanation:
    """See :meth:`meetmid.MatchResult.explain`."""
    if np.isnan(result.scores[p, g]):
        raise InputError(
            f"{result.probe_ids[p]} ({result.probe_status[p]}) and {result.gallery_ids[g]} ({result.gallery_status[g]}) "
            f"have no score to explain"
        )
    if matcher is None and result.source is not None:
        matcher = result.source[0]
    native = result.config.lr_size is None and bool(result.config.scales) and result.config.resolution_matching
    if native and (gallery is not None or result.source is None):
        raise InputError(
            "with lr_size=None every probe size has its own gallery, which a file does not keep: explain such a result before "
            "it is saved or pickled, without gallery="
        )
    if matcher is None or (gallery is None and result.source is None):
        raise InputError("a result read from a file is explained with matcher= and gallery=, those it was made with")
    if result.probe_crops is None or result.probe_first is None:
        raise InputError("no crops were kept (keep_crops=False), so the hypotheses cannot be shown again")
    if result.config.centering == "set" and result.probe_means is None:
        raise InputError("centering='set' needs the probes' own means, which only a result in memory or saved as .npz has")
    if gallery is not None:
        gallery.check(matcher.comparison.intake.gallery_hashes, result.config, gallery.lr_shape)
    if matcher.config.hash() != result.config.hash() or (gallery is not None and gallery.ids != result.gallery_ids):
        raise InputError("a result is explained with the matcher and gallery it was made with, these are others")
    crops = [result.probe_crops.crop(k) for k in range(result.probe_first[p], result.probe_first[p + 1])]
    entry = g
    if gallery is None:
        assert result.source is not None
        gallery, entry = matcher.comparison.met(result.source[1], crops, g)
    if gallery.crops is None:
        raise InputError("no crops were kept (keep_crops=False), so the hypotheses cannot be shown again")
    probe_side, whole = matcher.comparison.sides(crops, gallery, result.probe_means)
    config = result.config
    if config.select == "best":
        probe_side = replace(probe_side, weights=best_hypothesis(probe_side, whole).keep(probe_side))
    one, first = whole.entries(entry, entry + 1), int(whole.first[entry])
    if config.portraits == "max":
        rules: list[tuple[Rule, Rule]] = [(config.probe_rule, config.gallery_rule)]
        each = fuse_sides(probe_side, one.alone(), rules, pairing=config.pairing, order=config.order, add="mean")[0][0]
        best = int(np.nanargmax(each))
        one, first = one.alone().entries(best, best + 1), first + best
    found = decompose(
        probe_side, one, probe_rule=config.probe_rule, gallery_rule=config.gallery_rule, pairing=config.pairing,
        order=config.order,
    )
    assert found is not None  # the score is a number, so both sides have hypotheses
    row, column = found.winner
    probe_slots, gallery_slots = probe_side.templates.shape[2], one.templates.shape[2]
    picture, slot_of_probe = divmod(int(found.slot_probe[row]), probe_slots)
    crop = crops[picture]
    assert crop is not None
    probe, probe_view = probe_picture(crop, config, matcher.hallucinator, int(found.scale_probe[row]), slot_of_probe)
    portrait, slot = divmod(int(found.slot_gallery[column]), gallery_slots)
    work = gallery.crops.crop(first + portrait)
    assert work is not None
    shown, gallery_view = gallery_picture(work, gallery.layout, int(found.scale_gallery[column]), slot)
    names = [{} if c is None else probe_names(c, config) for c in crops]
    probe_labels = [
        names[int(s) // probe_slots][int(k), int(s) % probe_slots]
        for k, s in zip(found.scale_probe, found.slot_probe, strict=True)
    ]
    gallery_labels = [
        gallery.layout.describe(int(k), int(s) % gallery_slots)
        for k, s in zip(found.scale_gallery, found.slot_gallery, strict=True)
    ]
    return Explanation(
        result.probe_ids[p], result.gallery_ids[g], float(result.scores[p, g]), float(found.similarity[row, column]),
        probe, shown, to_uint8(probe_view), to_uint8(gallery_view), probe.synthetic,
        _largest_first(probe_labels, found.share.sum(axis=1)), _largest_first(gallery_labels, found.share.sum(axis=0)),
        probe_heat(crop, config, matcher.hallucinator, int(found.scale_probe[row]), slot_of_probe),
    )


def _largest_first(names: list[T], shares: NDArray[np.float64]) -> tuple[tuple[T, float], ...]:
    order = np.argsort(-shares, kind="stable")
    return tuple((names[k], float(shares[k])) for k in order if shares[k] != 0)
