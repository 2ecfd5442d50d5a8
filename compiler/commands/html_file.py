"""Writes the HTML report that a command was asked for."""

from __future__ import annotations

from pathlib import Path

from ...ir.files import write_file
from ..report.html.page import html_report
from ..report.html.report import Report
from .console import Console

__all__ = ["write_html"]


def write_html(console: Console, path: Path, report: Report) -> None:
    """Raises: UsageError where it cannot be written; what was there before stays."""
    page = html_report(report)
    write_file(path, page)
    console.say(f"wrote {path} ({len(page):,} bytes)")
