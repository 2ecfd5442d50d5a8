"""Text to graph. Every refusal says line and column."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, NoReturn

from .attributes import make_attributes, unquote
from .dims import parse_dim
from .errors import InvalidModel, ParseError
from .graph import Graph, Node, Origin
from .op import OpDef
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
      (?:(?P<mark>//|[+*(){}\[\]=,:]|-(?!\d|inf\b))
      |(?P<sigil>[%@](?:[A-Za-z0-9_.$/-]+|"(?:[^"\\\n]|\\.)*"))
      |(?P<type>[A-Za-z_][A-Za-z0-9_]*\[(?:(?:[0-9]{1,9}|[A-Za-z_][A-Za-z0-9_]*)(?:,(?:[0-9]{1,9}|[A-Za-z_][A-Za-z0-9_]*))*)?\])
      |(?P<number>-?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\d+|inf\b))
      |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<string>"(?:[^"\\\n]|\\.)*")
      |(?P<remark>\#[^\n]*)
      |(?P<end>\Z)
      |(?P<odd>[^ \t\r\n]))""",
    re.VERBOSE,
)
_BESIDE = ("remark", "end", "odd")  # groups that are no token, or the last
_Token = tuple[str, str, int]  # its kind, itself, and the characters before it; a class would take twice as long


@dataclass(frozen=True)
class _Text:
    """A text in pieces, and where in it they are."""

    whole: str
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
    found = _Text(text, path, tokens, [match.start() for match in re.finditer("\n", text)])
    for match in _TOKEN.finditer(text):
        group = match.lastindex or 0
        kind = match.lastgroup or ""
        if kind not in _BESIDE:
            tokens.append((kind, match[group], match.start(group)))
        elif kind == "odd":
            found.refuse(f"unexpected character {match[group]!r}", match.start(group))
        elif kind == "end":
            tokens.append((kind, "the end of the text", match.start(group)))
            break
    return found


def _with_type(op: Any, type_: TensorType | None) -> Any:
    """An opaque op's type is an attribute of it, and is written where those of other nodes are."""
    return op.typed(type_) if isinstance(op, Opaque | OpaqueResult) and type_ is not None and op == op.typed(None) else op


class _Parser:
    """Recursive descent over tokens; `values` are the names defined so far. `kind`, `word` and `start` are those of the next token."""

    def __init__(self, text: _Text) -> None:
        self.text = text
        self.tokens = text.tokens
        self.path = text.path
        self.at = 0
        self.kind, self.word, self.start = text.tokens[0]
        self.values: dict[str, Node] = {}
        self.types: dict[str, TensorType] = {}  # those read as one token
        self.ops: dict[tuple[OpDef[Any], str], tuple[Any, int]] = {}  # attributes as they were written, and the tokens that they take

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
        if self.kind != "end":
            self.fail(f"unexpected '{self.word}' after the graph")
        return Graph(name, tuple(inputs), tuple(outputs), tuple(self.values.values()))

    def arguments(self) -> list[Node]:
        self.expect("(")
        inputs: list[Node] = []
        while not self.taken(")"):
            if inputs:
                self.expect(",")
            start, written = self.start, self.word
            name = self.sigil("%", "an input such as %x")
            self.expect(":")
            node = Node(name, INPUT, Input(), (), self.type_(), Origin(read_at=self.place(start)))
            inputs.append(self.define(node, written, start))
        return inputs

    def statement(self) -> None:
        start, written = self.start, self.word
        name = self.sigil("%", "a statement such as %y = relu(%x), or return")
        self.expect("=")
        word, at = self.word, self.start
        if self.kind != "word" or word not in OPS or word == INPUT.name:
            self.fail(f"unknown op '{word}'{did_you_mean(word, OPS)}")
        self.step()
        kind = OPS[word]
        operands = self.operands() if self.comes("(") else ()
        least, most = kind.arity
        if len(operands) < least or (most is not None and len(operands) > most):
            wanted = f"{least}" if least == most else f"{least} to {most}" if most else f"at least {least}"
            self.fail(f"{kind.name} takes {wanted} operands, not {len(operands)}", at)
        op = self.op(kind, at)
        type_ = self.type_() if self.taken(":") else None
        op = _with_type(op, type_)
        origin = self.origin(start)
        weights = self.weights(name, op, type_, at) if kind is PARAM else None
        self.define(Node(name, kind, op, operands, type_, origin, weights), written, start)

    def weights(self, name: str, op: Param, type_: TensorType | None, at: int) -> Weights:
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
        start, written = self.start, self.word
        name = self.sigil("%", "a value such as %x")
        if name in self.values:
            return self.values[name]
        following = zip(self.tokens, self.tokens[1:], strict=False)
        if any(each[1] == written and mark[1] == "=" for each, mark in following):
            self.fail(f"{written} is used before its definition (a cycle, or lines out of order)", start)
        return self.fail(f"{written} is not defined", start)

    def op(self, kind: OpDef[Any], at: int) -> Any:
        """The attributes that follow. What is written as before is what it was, for a great network has few kinds of layers."""
        written = self.written()
        if written is not None and (kind, written) in self.ops:
            op, count = self.ops[kind, written]
            self.at += count - 1
            self.step()
            return op
        first = self.at
        given = self.attributes() if self.comes("{") else {}
        try:
            op = make_attributes(kind.Attrs, given)
        except InvalidModel as error:
            self.fail(f"{kind.name}: {error}", at)
        if written is not None:
            self.ops[kind, written] = op, self.at - first
        return op

    def written(self) -> str | None:
        """The text of the attributes that follow; None where a string or a remark may hold a bracket."""
        if not self.comes("{"):
            return ""
        text = self.text.whole[self.start : self.text.whole.find("}", self.start) + 1]
        return None if not text or '"' in text or "#" in text else text

    def attributes(self) -> dict[str, Any]:
        self.expect("{")
        given: dict[str, Any] = {}
        while not self.taken("}"):
            if given:
                self.expect(",")
            start, name = self.start, self.next("word", "an attribute name")
            if name in given:
                self.fail(f"attribute '{name}' is given twice", start)
            self.expect("=")
            given[name] = self.value()
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
        kind, text, start = self.kind, self.word, self.start
        if kind == "end":
            self.fail("expected a value, found the end of the text")
        ends = self.tokens[self.at + 1][1] in (",", "]", "}")
        if kind == "string":
            self.step()
            return self.plain(text, start)
        if kind == "number" and len(text) > MAX_DIGITS:
            self.fail(f"a number of {len(text)} characters; at most {MAX_DIGITS} are read")
        if kind == "number" and ends:
            self.step()
            return float(text) if any(c in text for c in ".eEn") else int(text)
        if kind == "word" and ends:
            self.step()
            return {"true": True, "false": False, "inf": float("inf"), "nan": float("nan")}.get(text, text)
        return self.dimension()

    def dimension(self) -> Any:
        """Everything up to the next comma or bracket outside parentheses, read as a dimension."""
        start, text, depth, follows = self.start, "", 0, False
        while depth or self.word not in (",", "]", "}", ")"):
            if self.kind not in ("number", "word", "mark"):
                self.fail(f"expected a value, found '{self.word}'")
            if len(self.word) > MAX_DIGITS and self.kind == "number":
                self.fail(f"a number of {len(self.word)} characters; at most {MAX_DIGITS} are read")
            depth += {"(": 1, ")": -1}.get(self.word, 0)
            text += f" {self.word}" if follows and self.kind != "mark" else self.word  # 1 1 is not 11
            follows = self.kind != "mark"
            self.step()
        try:
            return parse_dim(text)
        except InvalidModel as error:
            self.fail(str(error), start)

    def type_(self) -> TensorType:
        start, text = self.start, self.word
        if self.kind == "type":
            self.step()
            if text not in self.types:
                self.types[text] = self.made_type(text, start)
            return self.types[text]
        self.next("word", "a tensor type such as f32[N,3,8,8]")
        self.expect("[")
        dims: list[str] = []
        while not self.taken("]"):
            if dims:
                self.expect(",")
            is_about = text == OPAQUE and self.kind == "string"
            dims.append(self.next("string", "a type") if is_about else str(self.dimension()))
        return self.made_type(f"{text}[{','.join(dims)}]", start)

    def made_type(self, text: str, start: int) -> TensorType:
        try:
            return parse_type(text)
        except InvalidModel as error:
            self.fail(str(error), start)

    def place(self, start: int) -> str:
        """The line of a file; a text in a program has no place that would help to find it."""
        return f"{self.path}:{self.text.line(start)}" if self.path != NO_FILE else ""

    def origin(self, start: int) -> Origin:
        source = self.quoted("a quoted source") if self.taken("at") else ""
        scope = self.quoted("a quoted scope") if self.taken("in") else ""
        made_from: list[str] = []
        if self.taken("from"):
            made_from.append(self.quoted("a quoted name"))
            while self.taken(","):
                made_from.append(self.quoted("a quoted name"))
        return Origin(source, scope, tuple(made_from), self.place(start))

    def define(self, node: Node, written: str, start: int) -> Node:
        if node.name in self.values:
            self.fail(f"{written} is defined twice", start)
        self.values[node.name] = node
        return node

    def sigil(self, mark: str, wanted: str) -> str:
        text, start = self.word, self.start
        if self.kind != "sigil" or text[0] != mark:
            self.fail(f"expected {wanted}, found '{text}'")
        self.step()
        name = text[1:]
        return self.plain(name, start) if name.startswith('"') else name

    def quoted(self, wanted: str) -> str:
        start = self.start
        return self.plain(self.next("string", wanted), start)

    def plain(self, text: str, start: int) -> str:
        try:
            return unquote(text)
        except InvalidModel as error:
            self.fail(str(error), start)

    def step(self) -> None:
        self.at += 1
        self.kind, self.word, self.start = self.tokens[self.at]

    def comes(self, text: str) -> bool:
        return self.word == text and self.kind in ("mark", "word")

    def taken(self, text: str) -> bool:
        if not self.comes(text):
            return False
        self.step()
        return True

    def expect(self, text: str) -> None:
        if not self.taken(text):
            self.fail(f"expected '{text}', found '{self.word}'")

    def next(self, kind: str, wanted: str) -> str:
        text = self.word
        if self.kind != kind:
            self.fail(f"expected {wanted}, found '{text}'")
        self.step()
        return text

    def fail(self, message: str, start: int | None = None) -> NoReturn:
        self.text.refuse(message, self.start if start is None else start)
