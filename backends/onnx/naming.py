"""Text out of an ONNX file: what may be a name, and how any of it may reach a terminal."""

from __future__ import annotations

from ...ir.errors import InvalidModel
from .limits import Limits

__all__ = ["check_name", "check_text", "shown"]

SHOWN = 80  # characters of a text in a message
BREAKS = "\t\n\r"  # what texts of several lines have


def shown(text: str | bytes) -> str:
    """Quoted, escaped and short."""
    quoted = repr(text if len(text) <= SHOWN else text[:SHOWN])
    return quoted if len(text) <= SHOWN else f"{quoted}... ({len(text):,} characters)"


def check_name(text: str, what: str, limits: Limits) -> None:
    """Raises: InvalidModel for a name that is too long, is not UTF-8, or has characters that cannot be printed."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # protobuf gives bytes for what is not UTF-8
        raise InvalidModel(f"{what} is {shown(text)}, which is not UTF-8")
    if len(text) > limits.name_length:
        raise InvalidModel(f"{what} is {shown(text)}; at most {limits.name_length:,} characters are read")
    if not text.isprintable():
        raise InvalidModel(f"{what} is {shown(text)}, which has characters that cannot be printed")


def check_text(text: str, what: str, limits: Limits) -> None:
    """A doc string or a metadata value: several lines, but nothing that steers a terminal.

    Raises: InvalidModel
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidModel(f"{what} is not UTF-8")
    if len(text) > limits.text_bytes:
        raise InvalidModel(f"{what} has {len(text):,} characters; at most {limits.text_bytes:,} are read")
    if not text.isprintable() and not text.translate(_NO_BREAKS).isprintable():
        raise InvalidModel(f"{what} is {shown(text)}, which has control characters")


_NO_BREAKS = {ord(char): None for char in BREAKS}
