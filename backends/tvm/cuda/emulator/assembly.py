"""An asm statement of CUDA source in C++: a block with its registers, and a statement for each instruction."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .cpp_text import split, strings_of
from .ptx import Operands, statement

__all__ = ["assembly_in_cpp"]

DECLARED = {"pred": "bool", "b16": "uint16_t", "b32": "uint32_t", "u32": "uint32_t", "s32": "int32_t", "f32": "float"}
WIDE = {"b64": "uint64_t", "u64": "uint64_t", "s64": "int64_t", "f64": "double"}
CPP_TYPES = DECLARED | WIDE


@dataclass(frozen=True, slots=True)
class _Names:
    """What an instruction's operands stand for: expressions by number, and registers by name."""

    expressions: list[str]
    registers: set[str]

    def operand(self, text: str) -> Operands:
        inner = text[1:-1] if text[:1] in "{[" else text
        if text.startswith("[") and "+" in inner:
            base, offset = inner.split("+")
            return Operands((f"emu_beyond({self._part(base.strip())}, {self._part(offset.strip())})",))
        return Operands(tuple(self._part(part) for part in split(inner, ",")))

    def _part(self, text: str) -> str:
        """`%3`, `p`, `-1`"""
        return re.sub(r"%(\d+)|%?\b([A-Za-z_]\w*)", self._named, text)

    def _named(self, match: re.Match[str]) -> str:
        number, name = match.groups()
        if number is not None:
            return f"({self.expressions[int(number)]})"
        return f"ptx_{name}" if name in self.registers else match.group()


def assembly_in_cpp(inside: str) -> str:
    """Of what stands between the parentheses of an asm statement."""
    template, *operands = _parts(inside)
    names = _Names([expression for part in operands[:2] for expression in _expressions(part)], set())
    code = strings_of(template).strip()
    code = code[1:-1] if code.startswith("{") and code.endswith("}") else code
    return "{ " + " ".join(_instruction(text, names) for text in split(code, ";") if text) + " }"


def _parts(inside: str) -> list[str]:
    """Template, outputs, inputs, clobbers."""
    return split(inside, ":") or [""]


def _expressions(part: str) -> list[str]:
    """Of `"=r"(a), "f"(b)`"""
    return [operand[operand.index("(") + 1 : -1] for operand in split(part, ",")]


def _instruction(text: str, names: _Names) -> str:
    guard = ""
    if text.startswith("@"):
        predicate, text = text[1:].split(None, 1)
        guard = f"if ({'!' * predicate.startswith('!')}{names.operand(predicate.lstrip('!')).value}) "
    word, _, rest = text.partition(" ")
    if word == ".reg":
        return _declared(rest, names)
    word, brace, more = word.partition("{")  # `st.v2.f32{...}`
    operands = [names.operand(part) for part in split(brace + more + " " + rest, ",")]
    found = statement(word, operands)
    if found is None:
        return f'{guard}emu_fault("the PTX instruction {word} with {len(operands)} operands is not emulated");'
    return f"{guard}{{ {found} }}"


def _declared(rest: str, names: _Names) -> str:
    """`.reg .pred p, q`"""
    kind, _, registers = rest.strip().partition(" ")
    found = [name.strip().lstrip("%") for name in registers.split(",")]
    names.registers.update(found)
    return " ".join(f"{CPP_TYPES[kind.lstrip('.')]} ptx_{name} = 0;" for name in found)
