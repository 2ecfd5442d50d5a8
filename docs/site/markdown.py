"""Tables, links and plain text as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

__all__ = ["NOTICE", "details", "escaped", "fence", "joined", "sentence", "table"]

NOTICE = "<!-- Made by docs/generate.py from the tables of the compiler: `make docs` writes it anew; edit the docstrings. -->"
MARKUP = re.compile(r"(?<=\S)\*|\*(?=\S)|(?<!\w)_|_(?!\w)|<(?=\w)")  # a star between spaces, or a _ within a word, is none


def joined(blocks: Iterable[str]) -> str:
    return "\n\n".join(filter(None, blocks)) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def fence(text: str, kind: str) -> str:
    return f"```{kind}\n{text.rstrip()}\n```"


def details(summary: str, *blocks: str) -> str:
    """What is shown once somebody asks for it, here and in a repository's browser."""
    return joined((f'<details markdown="1"><summary>{html.escape(summary, quote=False)}</summary>', *blocks, "</details>")).rstrip()


def sentence(text: str) -> str:
    return escaped(text[:1].upper() + text[1:])


def escaped(text: str) -> str:
    """Plain text, in which what stands between backticks is code and nothing else is markup."""
    return "`".join(part if number % 2 else MARKUP.sub(r"\\\g<0>", part) for number, part in enumerate(text.split("`")))
