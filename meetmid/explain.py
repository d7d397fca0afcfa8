"""Makes the explanation of one score anew from the kept crops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from meetmid.comparison import Comparison
from meetmid.config import Rule
from meetmid.errors import InputError
from meetmid.gallery.hypotheses import gallery_picture
from meetmid.gallery.store import Gallery
from meetmid.probes.hypotheses import probe_heat, probe_names, probe_picture
from meetmid.resize import to_uint8
from meetmid.result import Explanation, MatchResult
from meetmid.scores.best import best_hypothesis
from meetmid.scores.provenance import Provenance, decompose
from meetmid.scores.scoring import fuse_sides
from meetmid.scores.side import Side

if TYPE_CHECKING:
    from meetmid.matcher import Matcher

T = TypeVar("T")
OFF = {"float32": 1e-3, "float16": 1e-3, "int8": 0.02}
"""By how much a score may differ from what the same pictures' templates give, by how exactly these are stored."""


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
    kept = range(result.probe_first[p], result.probe_first[p + 1])
    crops, fine = [result.probe_crops.crop(k) for k in kept], [result.probe_crops.fine(k) for k in kept]
    if gallery is None:
        assert result.source is not None
        gallery = result.source[1]
    resolution = float(result.probe_size[p, 1])
    gallery, entry = matcher.comparison.met(gallery, crops, resolution, g)
    if gallery.crops is None:
        raise InputError("no crops were kept (keep_crops=False), so the hypotheses cannot be shown again")
    parts = matcher.comparison.sides(crops, gallery, result.probe_means, fine)
    layout = gallery.layouts.each[0]
    made = (_part(matcher.comparison, share, probe, whole, entry) for share, probe, whole in parts)
    found = [part for part in made if part is not None]
    total, told = sum(part.score for part in found), float(result.scores[p, g])
    # where one comparison has nothing to compare, the other is the score
    now = total / sum(part.share for part in found) if found else np.nan
    near = OFF[gallery.stored]
    if not np.isclose(now, told, rtol=near, atol=near):
        raise InputError(
            f"a result is explained with the gallery it was made with, this one has changed since: {result.probe_ids[p]} and "
            f"{result.gallery_ids[g]} have {now:.6g} now, not {told:.6g}"
        )
    shares = [part.score / total if abs(total) > 1e-12 else part.score for part in found]
    best = max(found, key=lambda part: part.similarity)
    row, column = best.made.winner
    scale, slot, picture = best.at_probe(row)
    crop = crops[picture]
    assert crop is not None
    config = result.config.at_resolution(resolution)
    probe, probe_view = probe_picture(crop, config, matcher.hallucinator, scale, slot)
    names = [{} if c is None else probe_names(c, config) for c in crops]
    probe_labels, gallery_labels = [], []
    for part in found:
        rows = [part.at_probe(k) for k in range(len(part.made.slot_probe))]
        columns = [part.at_gallery(k) for k in range(len(part.made.slot_gallery))]
        probe_labels += [names[its][index, number] for index, number, its in rows]
        gallery_labels += [layout.describe(index, number) for index, number, _ in columns]
    index, number, portrait = best.at_gallery(column)
    work = gallery.crops.crop(portrait)
    assert work is not None
    shown, gallery_view = gallery_picture(work, layout, index, number)
    of_probe, of_gallery = (
        np.concatenate([share * part.made.share.sum(axis=axis) for share, part in zip(shares, found, strict=True)])
        for axis in (1, 0)
    )
    return Explanation(
        result.probe_ids[p], result.gallery_ids[g], told, best.similarity, probe, shown,
        to_uint8(probe_view), to_uint8(gallery_view), probe.synthetic, _largest_first(probe_labels, of_probe),
        _largest_first(gallery_labels, of_gallery), probe_heat(crop, config, matcher.hallucinator, scale, slot),
    )


@dataclass(frozen=True)
class _Part:
    """One of the comparisons that a score is made of: its ``share``, what it adds with that, how it was ``made``, and how its
    slots are counted; ``first`` is the portraits' first picture in the gallery."""

    share: float
    score: float
    made: Provenance
    probe_slots: int
    gallery_slots: int
    first: int

    @property
    def similarity(self) -> float:
        """That of its most alike pair."""
        return float(self.made.similarity[self.made.winner])

    def at_probe(self, row: int) -> tuple[int, int, int]:
        """Scale index, slot and picture of a row."""
        picture, slot = divmod(int(self.made.slot_probe[row]), self.probe_slots)
        return int(self.made.scale_probe[row]), slot, picture

    def at_gallery(self, column: int) -> tuple[int, int, int]:
        """Scale index, slot and the gallery's picture of a column."""
        picture, slot = divmod(int(self.made.slot_gallery[column]), self.gallery_slots)
        return int(self.made.scale_gallery[column]), slot, self.first + picture


def _part(compare: Comparison, share: float, probe: Side, whole: Side, entry: int) -> _Part | None:
    """Decompose one comparison of a probe with an entry of the gallery; None where the entry has no template for it."""
    config = compare.config
    if config.select == "best":
        probe = replace(probe, weights=best_hypothesis(probe, whole).keep(probe))
    one, first = whole.entries(entry, entry + 1), int(whole.first[entry])
    if not one.weights.any():
        return None
    score = share * float(compare.fused(probe, one)[0, 0])
    if config.portraits == "max":
        rules: list[tuple[Rule, Rule]] = [(config.probe_rule, config.gallery_rule)]
        each = fuse_sides(probe, one.alone(), rules, pairing=config.pairing, order=config.order, add="mean")[0][0]
        best = int(np.nanargmax(each))
        one, first = one.alone().entries(best, best + 1), first + best
    made = decompose(
        probe, one, probe_rule=config.probe_rule, gallery_rule=config.gallery_rule, pairing=config.pairing, order=config.order
    )
    assert made is not None  # the score is a number, so both sides have hypotheses
    return _Part(share, score, made, probe.templates.shape[2], one.templates.shape[2], first)


def _largest_first(names: list[T], shares: NDArray[np.float64]) -> tuple[tuple[T, float], ...]:
    order = np.argsort(-shares, kind="stable")
    return tuple((names[k], float(shares[k])) for k in order if shares[k] != 0)
