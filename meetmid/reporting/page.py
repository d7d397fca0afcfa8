"""HTML pieces of a report: escaped text, tables with captions, figures with alternative texts, and the page around them.

A page has no script and asks for nothing: pictures are data URIs and its content security policy forbids the rest.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem 1.5rem 3rem; max-width: 72rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { font-size: 1.3rem; margin-top: 2.2rem; border-bottom: 2px solid #1a1a1a; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
a { color: #0b4f8a; } :focus-visible { outline: 3px solid #0b4f8a; outline-offset: 2px; }
.skip { position: absolute; left: -999rem; } .skip:focus { position: static; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { border: 1px solid #8a8a8a; padding: .25rem .6rem; text-align: left; vertical-align: top; }
thead th { background: #ececec; } th { white-space: nowrap; } tbody th { white-space: normal; overflow-wrap: anywhere; }
td { overflow-wrap: anywhere; } td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; } figure.face { width: 8.5rem; } figure.plot { width: 26rem; max-width: 100%; }
figure.face img { width: 8.5rem; height: 8.5rem; object-fit: contain; background: #ececec; image-rendering: pixelated; }
figure.plot img { width: 100%; height: auto; } figcaption { font-size: .85rem; overflow-wrap: anywhere; }
.synthetic img { outline: 4px dashed #a3001d; outline-offset: -4px; } .mark { color: #a3001d; font-weight: 700; }
.warning { border-left: .4rem solid #a3001d; padding: .3rem .8rem; margin: .4rem 0; background: #fdf1f2; }
code { font-size: .85rem; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  section.entry, figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } .scroll { overflow: visible; } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def clean(text: str) -> str:
    """Text that a page can hold: what is no Unicode (file names of other encodings) is shown as an escape."""
    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def document(title: str, intro: Sequence[str], sections: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The page: ``sections`` are (heading, HTML parts), listed in its contents; empty ones are left out."""
    kept = [(f"part-{n}", heading, parts) for n, (heading, parts) in enumerate(sections, 1) if parts]
    links = "".join(f'<li><a href="#{name}">{clean(heading)}</a></li>' for name, heading, _ in kept)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{clean(heading)}</h2>{"".join(parts)}</section>'
        for name, heading, parts in kept
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{clean(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        '<body><a class="skip" href="#content">Skip to the content</a>'
        f'<header><h1>{clean(title)}</h1>{"".join(intro)}</header>'
        f'<nav aria-label="Contents"><ul>{links}</ul></nav><main id="content">{body}</main></body></html>\n'
    )


def entry(heading: str, parts: Iterable[str]) -> str:
    """A part of a section with a heading of its own, kept together in print."""
    return f'<section class="entry"><h3>{clean(heading)}</h3>{"".join(parts)}</section>'


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{clean(text)}</p>"


def warning(text: str) -> str:
    """A paragraph that must not be overlooked."""
    return f'<p class="warning"><strong>Warning:</strong> {clean(text)}</p>'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose first column names the rows; "" without rows. Numbers are given as text; those are set right."""
    body = "".join(
        f'<tr><th scope="row">{clean(str(row[0]))}</th>{"".join(_cell(value) for value in row[1:])}</tr>' for row in rows
    )
    head = "".join(f'<th scope="col">{clean(name)}</th>' for name in header)
    return (
        f'<div class="scroll" role="region" aria-label="{clean(caption)}" tabindex="0"><table><caption>{clean(caption)}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>" if body else ""
    )


def _cell(value: object) -> str:
    text = str(value)
    is_number = text[:1].isdigit() or text[:2].lstrip("-")[:1].isdigit()
    return f'<td class="number">{clean(text)}</td>' if is_number else f"<td>{clean(text)}</td>"


def figure(data: bytes, kind: str, alt: str, caption: str, *, role: str = "face", synthetic: bool = False) -> str:
    """A picture of MIME type ``image/kind`` with its alternative text and caption; ``synthetic`` marks what a network made."""
    uri = base64.b64encode(data).decode("ascii")
    mark = '<span class="mark">SYNTHETIC</span> ' if synthetic else ""
    alt = f"synthetic: {alt}" if synthetic else alt
    return (
        f'<figure class="{role}{" synthetic" if synthetic else ""}"><img src="data:image/{kind};base64,{uri}" '
        f'alt="{clean(alt)}"><figcaption>{mark}{clean(caption)}</figcaption></figure>'
    )


def row(figures: Iterable[str]) -> str:
    """Figures beside each other."""
    return f'<div class="row">{"".join(figures)}</div>'
