"""Reports: one self-contained HTML file per run, for a person to read, keep and defend."""

from __future__ import annotations

from meetmid.reporting.report import report_html, save_report

__all__ = ["report_html", "save_report"]
