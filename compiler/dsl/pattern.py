"""The course's pattern language: `[(CONV-RELU)*2-POOL]*3-(FC-RELU)*1-SOFTMAX`.

Words are joined by `-` or `,`; brackets of either kind group, `*3` repeats, `*N` repeats as often as
the option `N` says, and `POOL?` is there unless `pool=False`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...ir.errors import UsageError
from . import layers
from .trace import Value
from .user_line import at_place

__all__ = ["pattern_layers"]

MAX_LAYERS = 10_000
_TOKEN = re.compile(r"\s*([A-Za-z]+\??|\d+|[()\[\]*,-])")


class _Word(NamedTuple):
    """A layer, and which word of the pattern's text it is, counted from 1."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class Widths:
    """What the words leave open. Filters start at `width` and double after each POOL."""

    classes: int
    width: int
    kernel: int
    hidden: int
    pad: str | int


@dataclass(slots=True)
class _State:
    value: Value
    filters: int


def _conv(state: _State, widths: Widths) -> None:
    state.value = layers.conv(state.value, state.filters, widths.kernel, pad=widths.pad)


def _pool(state: _State, widths: Widths) -> None:
    state.value = layers.max_pool(state.value, 2)
    state.filters *= 2


def _fc(state: _State, widths: Widths) -> None:
    state.value = layers.dense(state.value, widths.hidden)


def _classes(state: _State, widths: Widths) -> None:
    state.value = layers.dense(state.value, widths.classes)


def _softmax(state: _State, widths: Widths) -> None:
    """SOFTMAX is the classifier: a layer of one value per class, then the softmax."""
    state.value = layers.softmax(layers.dense(state.value, widths.classes))


def _plain(layer: Callable[[Value], Value]) -> Callable[[_State, Widths], None]:
    def step(state: _State, widths: Widths) -> None:
        state.value = layer(state.value)

    return step


WORDS: dict[str, Callable[[_State, Widths], None]] = {
    "CONV": _conv,
    "POOL": _pool,
    "FC": _fc,
    "SOFTMAX": _softmax,
    "RELU": _plain(layers.relu),
    "TANH": _plain(layers.tanh),
    "SIGMOID": _plain(layers.sigmoid),
    "BN": _plain(layers.batch_norm),
    "LRN": _plain(layers.local_response_norm),
    "DROPOUT": _plain(layers.dropout),
}


CLOSED_BY = {"(": ")", "[": "]"}


def pattern_layers(
    text: str,
    *,
    classes: int = 10,
    width: int = 32,
    kernel: int = 3,
    hidden: int = 128,
    pad: str | int = "same",
    pool: bool = True,
    **repeats: int,
) -> Callable[[Value], Value]:
    """The function from image to result that `text` describes; a last FC without a SOFTMAX after it gives the classes.

    Raises: UsageError for text that is not a pattern, saying where.
    """
    words = _expand(text, repeats, pool)
    widths = Widths(classes, width, kernel, hidden, pad)

    def build(image: Value) -> Value:
        state = _State(image, width)
        for position, word in enumerate(words):
            last_fc = word.text == "FC" and position == len(words) - 1
            with at_place(f"pattern, word {word.number}"):
                (_classes if last_fc else WORDS[word.text])(state, widths)
        return state.value

    build.__doc__ = f"The pattern {text}."
    return build


def _expand(text: str, repeats: dict[str, int], pool: bool) -> list[_Word]:
    """The flat list of words, read with a stack of open groups."""
    tokens = _tokens(text)
    open_: list[tuple[str, list[_Word]]] = [("", [])]
    opened: list[int] = []  # columns of the marks in `open_`
    at = number = 0
    while at < len(tokens):
        token, column = tokens[at]
        at += 1
        if token in "([":
            open_.append((token, []))
            opened.append(column)
            continue
        if token in ")]":
            mark, words = open_.pop()
            _ = opened.pop() if opened else 0
            if CLOSED_BY.get(mark) != token:
                raise UsageError(f"pattern '{text}': '{token}' at column {column} closes nothing")
            count, at = _repeat(text, tokens, at, repeats)
            if len(words) * count > MAX_LAYERS:
                raise UsageError(f"pattern '{text}': more than {MAX_LAYERS} layers")
            open_[-1][1].extend(words * count)
        elif token.rstrip("?").upper() in WORDS:
            number += 1
            if pool or not token.endswith("?"):
                open_[-1][1].append(_Word(token.rstrip("?").upper(), number))
        elif token == "*":
            raise UsageError(
                f"pattern '{text}': '*' at column {column} repeats a group, and none ends before it; write ({_before(tokens, at)})*2"
            )
        elif token not in "-,":
            raise UsageError(f"pattern '{text}': unknown word '{token}' at column {column}; known are {', '.join(WORDS)}")
    if len(open_) > 1:
        mark = open_[-1][0]
        raise UsageError(f"pattern '{text}': a '{mark}' is not closed, that at column {opened[-1]}; it ends with '{CLOSED_BY[mark]}'")
    if not open_[0][1]:
        raise UsageError(f"pattern '{text}' has no layers")
    return open_[0][1]


def _before(tokens: list[tuple[str, int]], at: int) -> str:
    """The word before a mark that has been read."""
    word = tokens[at - 2][0] if at > 1 else ""
    return word if word.rstrip("?").upper() in WORDS else "CONV-RELU"


def _tokens(text: str) -> list[tuple[str, int]]:
    tokens: list[tuple[str, int]] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise UsageError(f"pattern '{text}': unexpected '{text[at]}' at column {at + 1}")
        tokens.append((match.group(1), match.start(1) + 1))
        at = match.end()
    return tokens


def _repeat(text: str, tokens: list[tuple[str, int]], at: int, repeats: dict[str, Any]) -> tuple[int, int]:
    """How often the group just closed stands, and where reading goes on."""
    if at >= len(tokens) or tokens[at][0] != "*":
        return 1, at
    count, column = tokens[at + 1] if at + 1 < len(tokens) else ("", len(text) + 1)
    if count.isdecimal():
        return int(count), at + 2
    if count in repeats:
        return repeats[count], at + 2
    raise UsageError(f"pattern '{text}': expected a number at column {column}; a letter needs a value, such as N=2")
