"""What ``meetmid evaluate`` prints, and the rows that it saves."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meetmid.interchange import aside, write_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from meetmid.evaluation.ladder import Rung
    from meetmid.evaluation.measures import Measure

Row = dict[str, Any]


def print_measures(measures: Sequence[Measure]) -> list[Row]:
    """A line per figure."""
    for measure in measures:
        print(f"  {measure.name:<22}{measure}")
    return [
        {
            "figure": m.name, "centring": "", "k": m.k, "n": m.n, "value": round(m.value, 4), "low95": _number(m.low),
            "high95": _number(m.high), "unit": m.unit, "note": m.note, "published": "",
        }
        for m in measures
    ]


def _is_theirs(options: argparse.Namespace) -> bool:
    """Whether the pictures are those of the fused scheme's tables 2 to 4."""
    changed = options.simulate or options.lower or options.reader or options.mugshots == "infrared"
    return options.dataset == "scface" and options.distance == 1 and not changed


def print_ladder(options: argparse.Namespace, rungs: Sequence[Rung]) -> list[Row]:
    """The fused scheme's tables 2 and 3, beside the published figures where the pictures are theirs."""
    from meetmid.evaluation.published import FUSED_LADDER, FUSED_MODELS

    is_theirs = _is_theirs(options)
    print("\nrank-1 by step" + (f", published: {' / '.join(FUSED_MODELS)}" if is_theirs else ""))
    rows = []
    for rung in rungs:
        low, high = rung.interval
        values = FUSED_LADDER.get(rung.step, ()) if is_theirs else ()
        published = " / ".join("-" if v is None else f"{v:.2f}" for v in values)
        share = f"{rung.k}/{len(rung.hits)} = {rung.percent:.2f} % [{low:.1f}, {high:.1f}]"
        print(f"  {rung.step:<50}{rung.centring:<8}{share:<36}{published}".rstrip())
        rows.append({
            "figure": rung.step, "centring": rung.centring, "k": rung.k, "n": len(rung.hits), "value": rung.percent,
            "low95": _number(low), "high95": _number(high), "unit": "%", "note": "rank-1, truncated; people drawn",
            "published": published,
        })
    return rows


def print_subsets(options: argparse.Namespace, rates: NDArray[np.float64]) -> list[Row]:
    """The fused scheme's table 4."""
    from meetmid.evaluation.ladder import HEADLINE
    from meetmid.evaluation.published import FUSED_SUBSETS

    mean, spread = float(rates.mean()), float(rates.std(ddof=1))
    note = f"mean rank-1 of {len(rates)} subsets of 80 people, sd {spread:.2f}"
    print(f"\n{HEADLINE}: {note}: {mean:.2f} %")
    published = ", ".join(f"{name} {value}" for name, value in FUSED_SUBSETS.items()) if _is_theirs(options) else ""
    if published:
        print(f"  published (4.2 m): {published}")
    return [{
        "figure": HEADLINE, "centring": options.centrings[-1], "k": "", "n": "", "value": round(mean, 4), "low95": "",
        "high95": "", "unit": "%", "note": note, "published": published,
    }]


def print_published(options: argparse.Namespace, measures: Sequence[Measure]) -> None:
    """The papers' tables about this dataset, with this run's figures as their first row; without those it cannot fill."""
    from meetmid.evaluation.published import tables_of

    if options.simulate:
        return
    ours = {measure.name: measure.value for measure in measures}
    for table in tables_of(options.dataset, options.lower, all_folds=options.fold == "all"):
        print(f"\n{table.paper}" + (f", probes of {table.size} px" if table.size else ""))
        print(f"  {'':<40}" + "".join(f"{column:>18}" for column in table.columns))
        for name, values in {"this run": tuple(map(ours.get, table.columns)), **table.rows}.items():
            print(f"  {name:<40}" + "".join(f"{'-' if v is None else f'{v:.3f}':>18}" for v in values))


def _number(value: float) -> float | str:
    return "" if math.isnan(value) else round(value, 4)


def save_rows(path: str | None, rows: list[Row]) -> None:
    """Write the rows as CSV, if a path is given."""
    if path:
        with aside(Path(path)) as new:
            write_rows(new, [list(rows[0]), *(list(row.values()) for row in rows)])
