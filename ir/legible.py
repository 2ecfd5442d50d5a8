"""Text that nobody vouches for, such as names out of files, made fit for a message: short, on one line, and steering no terminal."""

from __future__ import annotations

__all__ = ["escaped", "legible", "quoted"]

LONGEST = 200  # characters that a message shows
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escaped(text: str, *, backslash: bool = True) -> str:
    """On one line: what cannot be printed as `\\u{1b}`, line breaks as `\\n`, and so a backslash twice, if it shall be read back."""
    if text.isprintable() and not (backslash and "\\" in text):
        return text
    kept = "" if backslash else "\\"
    return "".join(c if c in kept else _ESCAPES.get(c, c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text)


def legible(text: object) -> str:
    """Escaped and short. Bytes are taken for UTF-8."""
    return _cut(text, "")


def quoted(text: object) -> str:
    """Legible, in quotation marks."""
    return _cut(text, "'")


def _cut(text: object, mark: str) -> str:
    whole = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    more = f"... ({len(whole):,} characters)" if len(whole) > LONGEST else ""
    return f"{mark}{escaped(whole[:LONGEST])}{mark}{more}"
