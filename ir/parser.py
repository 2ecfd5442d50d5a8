"""Text to graph. Every refusal says line and column."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from .attributes import make_attributes, unquote
from .dims import parse_dim
from .errors import InvalidModel, ParseError
from .graph import Graph, Node, Origin
from .ops import OPS
from .ops.leaf import INPUT, PARAM, Input, Param
from .ops.opaque import Opaque, OpaqueResult
from .suggest import did_you_mean
from .types import OPAQUE, TensorType, parse_type
from .verifier import verify_graph
from .weights import Recipe, Weights

__all__ = ["parse_graph"]

NO_FILE = "<text>"
MAX_TEXT = 64 << 20  # characters
MAX_DIGITS = 40  # of one number
# Each match begins where the one before ended: what is nothing else is "odd". A type with plain sizes is
# one token, for a text of 100,000 nodes is mostly types. Space is taken once, without a choice, or a text of spaces would be read forever.
_TOKEN = re.compile(
    r"""[ \t\r\n]*
      (?:(?P<sigil>[%@](?:[A-Za-z0-9_.$/-]+|"(?:[^"\\\n]|\\.)*"))
      |(?P<type>[A-Za-z_][A-Za-z0-9_]*\[(?:(?:[0-9]{1,9}|[A-Za-z_][A-Za-z0-9_]*)(?:,(?:[0-9]{1,9}|[A-Za-z_][A-Za-z0-9_]*))*)?\])
      |(?P<number>-?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\d+|inf\b))
      |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<mark>//|[+*(){}\[\]=,:-])
      |(?P<string>"(?:[^"\\\n]|\\.)*")
      |(?P<remark>\#[^\n]*)
      |(?P<end>\Z)
      |(?P<odd>[^ \t\r\n]))""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int  # characters before it


@dataclass(frozen=True)
class _Text:
    """A text in pieces, and where in it they are."""

    path: str
    tokens: list[_Token]
    newlines: list[int]  # where lines end

    def line(self, at: int) -> int:
        return bisect_left(self.newlines, at) + 1

    def refuse(self, message: str, at: int) -> NoReturn:
        line = self.line(at)
        raise ParseError(message, line, at - (self.newlines[line - 2] if line > 1 else -1), self.path)


def parse_graph(text: str, path: str = NO_FILE) -> Graph:
    """Read one graph from `text` and verify it; its nodes know their lines in the file `path`.

    Raises: ParseError with line and column; InvalidModel for a graph that breaks the IR's rules.
    """
    graph = _Parser(_tokenize(text, path)).graph()
    verify_graph(graph)
    return graph


def _tokenize(text: str, path: str) -> _Text:
    if len(text) > MAX_TEXT:
        raise ParseError(f"text of {len(text)} characters; at most {MAX_TEXT} are read", 1, 1, path)
    tokens: list[_Token] = []
    found = _Text(path, tokens, [match.start() for match in re.finditer("\n", text)])
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "odd":
            found.refuse(f"unexpected character {match[kind]!r}", match.start(kind))
        if kind == "end":
            tokens.append(_Token(kind, "the end of the text", match.start(kind)))
            break
        if kind != "remark":
            tokens.append(_Token(kind, match[kind], match.start(kind)))
    return found


def _with_type(op: Any, type_: TensorType | None) -> Any:
    """An opaque op's type is an attribute of it, and is written where those of other nodes are."""
    return op.typed(type_) if isinstance(op, Opaque | OpaqueResult) and type_ is not None and op == op.typed(None) else op


class _Parser:
    """Recursive descent over tokens; `values` are the names defined so far."""

    def __init__(self, text: _Text) -> None:
        self.text = text
        self.tokens = text.tokens
        self.path = text.path
        self.at = 0
        self.now = text.tokens[0]
        self.values: dict[str, Node] = {}
        self.types: dict[str, TensorType] = {}  # those read as one token

    def graph(self) -> Graph:
        self.expect("graph")
        name = self.sigil("@", "a graph name such as @net")
        inputs = self.arguments()
        self.expect("{")
        while not self.comes("return"):
            self.statement()
        self.expect("return")
        outputs = [self.operand()]
        while self.taken(","):
            outputs.append(self.operand())
        self.expect("}")
        if self.now.kind != "end":
            self.fail(f"unexpected '{self.now.text}' after the graph")
        return Graph(name, tuple(inputs), tuple(outputs), tuple(self.values.values()))

    def arguments(self) -> list[Node]:
        self.expect("(")
        inputs: list[Node] = []
        while not self.taken(")"):
            if inputs:
                self.expect(",")
            token = self.now
            name = self.sigil("%", "an input such as %x")
            self.expect(":")
            inputs.append(self.define(Node(name, INPUT, Input(), (), self.type_(), Origin(read_at=self.place(token))), token))
        return inputs

    def statement(self) -> None:
        token = self.now
        name = self.sigil("%", "a statement such as %y = relu(%x), or return")
        self.expect("=")
        word = self.now
        if word.kind != "word" or word.text not in OPS or word.text == INPUT.name:
            self.fail(f"unknown op '{word.text}'{did_you_mean(word.text, OPS)}")
        self.step()
        kind = OPS[word.text]
        operands = self.operands() if self.comes("(") else ()
        least, most = kind.arity
        if len(operands) < least or (most is not None and len(operands) > most):
            wanted = f"{least}" if least == most else f"{least} to {most}" if most else f"at least {least}"
            self.fail(f"{kind.name} takes {wanted} operands, not {len(operands)}", word)
        given = self.attributes() if self.comes("{") else {}
        try:
            op = make_attributes(kind.Attrs, given)
        except InvalidModel as error:
            self.fail(f"{kind.name}: {error}", word)
        type_ = self.type_() if self.taken(":") else None
        op = _with_type(op, type_)
        origin = self.origin(token)
        weights = self.weights(name, op, type_, word) if kind is PARAM else None
        self.define(Node(name, kind, op, operands, type_, origin, weights), token)

    def weights(self, name: str, op: Param, type_: TensorType | None, at: _Token) -> Weights:
        if type_ is None:
            self.fail(f"param %{name} needs a type, such as : f32[64,3,7,7]", at)
        return Weights(type_, Recipe(op.init, op.key or name, op.seed, op.value))

    def operands(self) -> tuple[Node, ...]:
        self.expect("(")
        operands = [self.operand()]
        while self.taken(","):
            operands.append(self.operand())
        self.expect(")")
        return tuple(operands)

    def operand(self) -> Node:
        token = self.now
        name = self.sigil("%", "a value such as %x")
        if name in self.values:
            return self.values[name]
        following = zip(self.tokens, self.tokens[1:], strict=False)
        if any(name_token.text == token.text and mark.text == "=" for name_token, mark in following):
            self.fail(f"{token.text} is used before its definition (a cycle, or lines out of order)", token)
        return self.fail(f"{token.text} is not defined", token)

    def attributes(self) -> dict[str, Any]:
        self.expect("{")
        given: dict[str, Any] = {}
        while not self.taken("}"):
            if given:
                self.expect(",")
            token = self.next("word", "an attribute name")
            if token.text in given:
                self.fail(f"attribute '{token.text}' is given twice", token)
            self.expect("=")
            given[token.text] = self.value()
        return given

    def value(self) -> Any:
        """A number, word, string or dimension, or a list of them."""
        if not self.taken("["):
            return self.scalar()
        values: list[Any] = []
        while not self.taken("]"):
            if values:
                self.expect(",")
            values.append(self.scalar())
        return values

    def scalar(self) -> Any:
        token = self.now
        if token.kind == "end":
            self.fail("expected a value, found the end of the text")
        ends = self.tokens[self.at + 1].text in (",", "]", "}")
        if token.kind == "string":
            self.step()
            return self.plain(token)
        if token.kind == "number" and len(token.text) > MAX_DIGITS:
            self.fail(f"a number of {len(token.text)} characters; at most {MAX_DIGITS} are read")
        if token.kind == "number" and ends:
            self.step()
            return float(token.text) if any(c in token.text for c in ".eEn") else int(token.text)
        if token.kind == "word" and ends:
            self.step()
            return {"true": True, "false": False, "inf": float("inf"), "nan": float("nan")}.get(token.text, token.text)
        return self.dimension()

    def dimension(self) -> Any:
        """Everything up to the next comma or bracket outside parentheses, read as a dimension."""
        token, text, depth, follows = self.now, "", 0, False
        while depth or self.now.text not in (",", "]", "}", ")"):
            if self.now.kind not in ("number", "word", "mark"):
                self.fail(f"expected a value, found '{self.now.text}'")
            if len(self.now.text) > MAX_DIGITS and self.now.kind == "number":
                self.fail(f"a number of {len(self.now.text)} characters; at most {MAX_DIGITS} are read")
            depth += {"(": 1, ")": -1}.get(self.now.text, 0)
            text += f" {self.now.text}" if follows and self.now.kind != "mark" else self.now.text  # 1 1 is not 11
            follows = self.now.kind != "mark"
            self.step()
        try:
            return parse_dim(text)
        except InvalidModel as error:
            self.fail(str(error), token)

    def type_(self) -> TensorType:
        token = self.now
        if token.kind == "type":
            self.step()
            if token.text not in self.types:
                self.types[token.text] = self.made_type(token.text, token)
            return self.types[token.text]
        self.next("word", "a tensor type such as f32[N,3,8,8]")
        self.expect("[")
        dims: list[str] = []
        while not self.taken("]"):
            if dims:
                self.expect(",")
            is_about = token.text == OPAQUE and self.now.kind == "string"
            dims.append(self.next("string", "a type").text if is_about else str(self.dimension()))
        return self.made_type(f"{token.text}[{','.join(dims)}]", token)

    def made_type(self, text: str, token: _Token) -> TensorType:
        try:
            return parse_type(text)
        except InvalidModel as error:
            self.fail(str(error), token)

    def place(self, token: _Token) -> str:
        """The line of a file; a text in a program has no place that would help to find it."""
        return f"{self.path}:{self.text.line(token.at)}" if self.path != NO_FILE else ""

    def origin(self, token: _Token) -> Origin:
        source = self.plain(self.next("string", "a quoted source")) if self.taken("at") else ""
        scope = self.plain(self.next("string", "a quoted scope")) if self.taken("in") else ""
        made_from: list[str] = []
        if self.taken("from"):
            made_from.append(self.plain(self.next("string", "a quoted name")))
            while self.taken(","):
                made_from.append(self.plain(self.next("string", "a quoted name")))
        return Origin(source, scope, tuple(made_from), self.place(token))

    def define(self, node: Node, token: _Token) -> Node:
        if node.name in self.values:
            self.fail(f"{token.text} is defined twice", token)
        self.values[node.name] = node
        return node

    def sigil(self, mark: str, wanted: str) -> str:
        token = self.now
        if token.kind != "sigil" or token.text[0] != mark:
            self.fail(f"expected {wanted}, found '{token.text}'")
        self.step()
        name = token.text[1:]
        return self.plain(token, name) if name.startswith('"') else name

    def plain(self, token: _Token, text: str | None = None) -> str:
        try:
            return unquote(token.text if text is None else text)
        except InvalidModel as error:
            self.fail(str(error), token)

    def step(self) -> None:
        self.at += 1
        self.now = self.tokens[self.at]

    def comes(self, text: str) -> bool:
        now = self.now
        return now.text == text and (now.kind == "mark" or now.kind == "word")  # mostly a mark, or nothing

    def taken(self, text: str) -> bool:
        if not self.comes(text):
            return False
        self.step()
        return True

    def expect(self, text: str) -> None:
        if not self.taken(text):
            self.fail(f"expected '{text}', found '{self.now.text}'")

    def next(self, kind: str, wanted: str) -> _Token:
        token = self.now
        if token.kind != kind:
            self.fail(f"expected {wanted}, found '{token.text}'")
        self.step()
        return token

    def fail(self, message: str, token: _Token | None = None) -> NoReturn:
        token = token or self.now
        self.text.refuse(message, token.at)
