"""What MkDocs is told of these pages: their order, and how a formula becomes MathML, which a browser shows by itself."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

__all__ = ["on_config", "on_page_content"]

BAR = '<mo stretchy="false">&#x0007C;</mo>'  # of an absolute value, which a browser sets apart like an operator

LINK = re.compile(r"\]\(([^)#:\s]+\.md)(?:#[^)\s]*)?\)")
INDEX = "README.md"
FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL)


def on_config(config: Any) -> Any:
    """The navigation is what the pages link, so that it is the same in a repository's browser; consoles have a format of their own."""
    config.nav = pages_of(Path(config.docs_dir), INDEX)
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [{"name": "console", "class": "console", "format": console}]}
    return config


def console(source: str, *_: Any, **__: Any) -> str:
    """What is typed stands out. A highlighter of shells would take a line that begins with % for a prompt: the text form is of such."""
    lines, typed = [], False
    for line in source.splitlines():
        typed = line.startswith("$ ") or (typed and lines[-1].endswith("\\</b>"))
        lines.append(f"<b>{html.escape(line)}</b>" if typed else html.escape(line))
    return f'<div class="console highlight"><pre><code>{chr(10).join(lines)}\n</code></pre></div>'


def pages_of(docs: Path, index: str) -> list[Any]:
    """An index, then in the order in which it first links them the pages of its folder, and folders within as sections."""
    return [{title(docs / index): index}, *(entry for target in linked(docs, index) for entry in _entry(docs, target))]


def linked(docs: Path, index: str) -> list[str]:
    """The pages of an index's own folder, and indexes of folders in it, each once; paths from `docs`."""
    folder = PurePosixPath(index).parent
    found = (folder / target for target in LINK.findall((docs / index).read_text(encoding="utf-8")) if ".." not in target)
    mine = (path for path in found if path.parent == folder or (path.name == INDEX and path.parent.parent == folder))
    return list(dict.fromkeys(path.as_posix() for path in mine))


def _entry(docs: Path, target: str) -> Iterator[Any]:
    """A page under its own title, a folder under that of its index. A link that leads nowhere is told elsewhere."""
    if (docs / target).is_file():
        yield {title(docs / target): pages_of(docs, target) if target.endswith(f"/{INDEX}") else target}


def title(page: Path) -> str:
    return next(line[2:].strip() for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("# "))


def on_page_content(text: str, **_: Any) -> str:
    return FORMULA.sub(_mathml, text)


def _mathml(found: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    inline = found[2] is not None
    text = convert(html.unescape(found[2] if inline else found[3]), display="inline" if inline else "block")
    return text.replace(BAR, BAR.replace("<mo", '<mo lspace="0" rspace="0"'))
