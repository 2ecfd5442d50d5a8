"""Tables as text and as HTML, for reprs: what people see of graphs, traces and plans in a prompt or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .legible import escaped

__all__ = ["SCREEN", "html_lines", "html_table", "text_table"]

SCREEN = 40  # rows; what is longer says what is left out
STYLE = "text-align:left;font-family:monospace;white-space:pre-wrap;"


def text_table(rows: Sequence[Sequence[str]], headings: Sequence[str], most: int | None = SCREEN) -> str:
    """Aligned columns, the first and last rows where there are more than `most`."""
    lines = [[escaped(cell, backslash=False) for cell in row] for row in [headings, *_cut(rows, most)]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines)


def html_table(rows: Sequence[Sequence[str]], headings: Sequence[str], caption: str = "", most: int | None = SCREEN) -> str:
    """The same as HTML, in which no name out of a file is markup."""
    head = "".join(_cell("th", text) for text in headings)
    body = "".join(f"<tr>{''.join(_cell('td', text) for text in row)}</tr>" for row in _cut(rows, most))
    return f"<table><caption>{_safe(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_lines(lines: Sequence[str]) -> str:
    """Paragraphs below a table."""
    return "".join(f"<div>{_safe(line)}</div>" for line in lines)


def _cell(tag: str, text: str) -> str:
    return f'<{tag} style="{STYLE}">{_safe(text)}</{tag}>'


def _safe(text: str) -> str:
    return escape(escaped(text, backslash=False))


def _cut(rows: Sequence[Sequence[str]], most: int | None) -> list[Sequence[str]]:
    if most is None or len(rows) <= most:
        return list(rows)
    half = most // 2
    between = [f"... {len(rows) - 2 * half:,} more", *[""] * (len(rows[0]) - 1)]
    return [*rows[:half], between, *rows[-half:]]
