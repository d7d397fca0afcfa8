"""What a result tells about itself: the warnings that every reader of its scores should see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meetmid.faces.colours import SWAPPED
from meetmid.faces.covers import ROWS
from meetmid.faces.finding import EVENED
from meetmid.faces.pixels import RECORDED
from meetmid.faces.worn import HIDES
from meetmid.result import CALIBRATED, UNCALIBRATED
from meetmid.runtime.sessions import PROVIDERS, nvidia_gpu_present

if TYPE_CHECKING:
    from meetmid.intake import Taken
    from meetmid.matcher import Matcher

SMALLEST = 16.0
"""Native face size in pixels below which nothing was measured (benchmarks/results)."""


def picture_notes(what: str, status: Sequence[str]) -> list[str]:
    """Warnings where some pictures look as if their red and blue were swapped, or as if something were worn on the face."""
    told = {SWAPPED: SWAPPED, HIDES: f"something {HIDES}: see their status" + " and covered_by" * (what == "probes")}
    counts = {mark: sum(mark in text for text in status) for mark in told}
    return [f"{count} of {len(status)} {what}: {told[mark]}" for mark, count in counts.items() if count]


def notes(matcher: Matcher, probes: Taken, dropped: int, stored: str, portraits: Sequence[str] = ()) -> tuple[str, ...]:
    """Warnings about the scores of ``probes``, of whose gallery ``dropped`` hypotheses were unusable, kept as ``stored``, and,
    of portraits that were taken for them, the statuses."""
    found = [UNCALIBRATED if matcher.calibration is None else CALIBRATED]
    small = int((probes.sizes[:, 0] < SMALLEST).sum())
    if small:
        found.append(f"{small} of {len(probes.ids)} probes are smaller than {SMALLEST:.0f} px: below the validated size")
    sharp, between = int((probes.share == 1).sum()), int(((probes.share > 0) & (probes.share < 1)).sum())
    if sharp or between:
        assert matcher.config.sharp_between is not None
        low, high = (f"{side:g}" for side in matcher.config.sharp_between)
        kinds = (
            (sharp, f"hold {high} px or more and were compared as they are"),
            (between, f"hold {low} to {high} px and were compared both ways"),
        )
        told = "; ".join(f"{count} of {len(probes.ids)} probes {what}" for count, what in kinds if count)
        if matcher.calibration is not None:
            told += ": likelihood ratios hold for them only where the calibration was learned from such probes too"
        found.append(told)
    if matcher.config.covers:
        top, bottom = (round(100 * share) for share in ROWS[matcher.config.covered_by])
        found.append(
            f"covered_by={matcher.config.covered_by!r}: all faces were also compared with {top} to {bottom} % of their height "
            f"covered on both sides, which costs hits where nothing is hidden"
        )
    evened = sum(EVENED in status for status in probes.status)
    if evened:
        found.append(f"{evened} of {len(probes.ids)} probes: {EVENED}")
    found += [*picture_notes("probes", probes.status), *picture_notes("portraits", portraits)]
    recorded = sum(RECORDED in status for status in probes.status)
    if recorded:
        found.append(f"{recorded} of {len(probes.ids)} probes have a size {RECORDED}: see pixel_aspect and their status")
    if probes.left_out:
        found.append(f"{probes.left_out} of {len(probes.ids)} probes are too large for some scale: see their status")
    on_cpu = matcher.network.network.provider == PROVIDERS["cpu"]
    if matcher.device == "auto" and on_cpu and nvidia_gpu_present():
        found.append("an NVIDIA GPU is there but the CPU was used: run `meetmid doctor`")
    if stored != "float32":
        found.append(f"the gallery's templates are stored as {stored}: scores are rounded accordingly")
    for side, count in (("probe", probes.dropped), ("gallery", dropped)):
        if count:
            found.append(f"{count} {side} hypotheses gave a zero or non-finite template and were dropped")
    return tuple(found)
