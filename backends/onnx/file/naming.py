"""Text out of an ONNX file: what may be a name or a remark."""

from __future__ import annotations

from ....ir.errors import InvalidModel
from ....ir.legible import quoted
from .limits import Limits

__all__ = ["SOURCE", "check_name", "check_text"]

SOURCE = "onnx:"  # begins the source of a node that stood in a file; its name there follows
WAY_OUT = "rename it where the file is made, or with the package onnx"
BREAKS = dict.fromkeys(map(ord, "\t\n\r"))  # what texts of several lines have, and names have not


def check_name(text: str, what: str, limits: Limits) -> None:
    """Raises: InvalidModel for a name that is too long, is not UTF-8, or has characters that cannot be printed."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # protobuf gives bytes for what is not UTF-8
        raise InvalidModel(f"{what} is {quoted(text)}, which is not UTF-8; {WAY_OUT}")
    if len(text) > limits.name_length:
        raise InvalidModel(f"{what} is {quoted(text)}; at most {limits.name_length:,} characters are read; {WAY_OUT}")
    if not text.isprintable():
        raise InvalidModel(f"{what} is {quoted(text)}, which has characters that cannot be printed; {WAY_OUT}")


def check_text(text: str, what: str, limits: Limits) -> None:
    """A doc string or a metadata value: several lines, but nothing that steers a terminal.

    Raises: InvalidModel
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidModel(f"{what} is not UTF-8")
    if len(text) > limits.text_bytes:
        raise InvalidModel(f"{what} has {len(text):,} characters; at most {limits.text_bytes:,} are read")
    if not text.isprintable() and not text.translate(BREAKS).isprintable():
        raise InvalidModel(f"{what} is {quoted(text)}, which has control characters; take them out where the file is made")
