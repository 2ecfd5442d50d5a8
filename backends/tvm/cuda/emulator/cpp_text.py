"""C++ as text: where a bracket closes, and parts between commas. Strings and comments are stepped over."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["closing", "spaced", "split", "strings_of"]

OPENING = {"(": ")", "[": "]", "{": "}"}
CLOSING = set(OPENING.values())
TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)+\'|//[^\n]*|/\*.*?\*/|[^"\'/()\[\]{},;:]+|.', re.S)


def closing(text: str, start: int) -> int:
    """The place of the bracket that closes the one at `start`.

    Raises: ValueError where there is none.
    """
    depth = 0
    for place, token in _tokens(text, start):
        if token in OPENING:
            depth += 1
        elif token in CLOSING:
            depth -= 1
            if depth == 0:
                return place
    raise ValueError(f"the {text[start]} at {start} is never closed")


def split(text: str, separator: str) -> list[str]:
    """Parts between separators outside of brackets and strings, without the spaces around them; of an empty text there are none."""
    parts, depth, begin = list[str](), 0, 0
    for place, token in _tokens(text):
        depth += (token in OPENING) - (token in CLOSING)
        if token == separator and depth == 0:
            parts.append(text[begin:place].strip())
            begin = place + 1
    last = text[begin:].strip()
    return [*parts, last] if parts or last else []


def strings_of(text: str) -> str:
    """What its string literals say, one after the other."""
    said = "".join(token[1:-1] for _, token in _tokens(text) if token.startswith('"'))
    return re.sub(r"\\[nt]", " ", said).replace('\\"', '"')


def spaced(text: str) -> str:
    """The same with comments and strings blanked, so that places in it are places in the text."""
    return "".join(re.sub(r"[^\n]", " ", token) if token[:2] in ("//", "/*") or token[0] in "\"'" else token for _, token in _tokens(text))


def _tokens(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    return ((match.start(), match.group()) for match in TOKEN.finditer(text, start))
