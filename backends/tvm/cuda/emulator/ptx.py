"""The PTX instructions that are emulated: a row each, from its name and operands to a statement of C++ (PTX ISA 8.7).

In a pattern a dot is a dot. A group named `is_...` is a flag; `of` names a type in memory, `type` and `sum` types of factors and sums, and
`test` a comparison. In a statement `{0.value}` is the first operand; `written` and `read` are registers of 32 bits, `bytes` what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["INSTRUCTIONS", "Instruction", "Operands", "statement"]


@dataclass(frozen=True, slots=True)
class Operands:
    """C++ expressions: one, or those of a vector in braces."""

    parts: tuple[str, ...]

    @property
    def value(self) -> str:
        return f"({self.parts[0]})"

    @property
    def written(self) -> str:
        return f"emu_written({', '.join(self.parts)})"

    @property
    def read(self) -> str:
        return f"emu_read({', '.join(self.parts)})"

    @property
    def pointer(self) -> str:
        return f"(void*)({self.parts[0]})"

    @property
    def bytes(self) -> int:
        return 4 * len(self.parts)


@dataclass(frozen=True, slots=True)
class Instruction:
    """`operands` are so many; an instruction that has a form with more has another row for it."""

    pattern: str
    operands: int
    statement: str


COPY = r"cp.async.(?:ca|cg).shared(?:::cta)?.global(?:.L2::(?:64|128|256)B)?"
CACHED = r"(?:.nc)?(?:.L1::\w+)?(?:.L2::\w+)?"
WORD = r"(?P<of>b32|u32|s32|f32)"
SHARED = r"shared(?:::cta)?"
DONE = ""  # what orders or hints, where all is done in order anyway

INSTRUCTIONS = (
    # matrices
    Instruction(
        rf"ldmatrix.sync.aligned.m8n8.x(?P<count>1|2|4)(?P<is_transposed>.trans)?.{SHARED}.b16",
        2,
        "emu_ldmatrix<{count}, {is_transposed}>({0.written}, {1.value});",
    ),
    Instruction(
        rf"stmatrix.sync.aligned.m8n8.x(?P<count>1|2|4)(?P<is_transposed>.trans)?.{SHARED}.b16",
        2,
        "emu_stmatrix<{count}, {is_transposed}>({0.value}, {1.read});",
    ),
    Instruction(
        r"mma.sync.aligned.m16n8k(?P<k>8|16).row.col.(?P<sum>f16|f32).(?P<type>f16).f16.(?:f16|f32)",
        4,
        "emu_mma<{k}, {type}, {sum}>({0.written}, {1.read}, {2.read}, {3.read});",
    ),
    Instruction(
        r"mma.sync.aligned.m16n8k(?P<k>8|16).row.col.(?P<sum>f32).(?P<type>bf16).bf16.f32",
        4,
        "emu_mma<{k}, {type}, {sum}>({0.written}, {1.read}, {2.read}, {3.read});",
    ),
    Instruction(
        r"mma.sync.aligned.m16n8k(?P<k>4|8).row.col.(?P<sum>f32).(?P<type>tf32).tf32.f32",
        4,
        "emu_mma<{k}, {type}, {sum}>({0.written}, {1.read}, {2.read}, {3.read});",
    ),
    Instruction(
        r"wgmma.mma_async.sync.aligned.m64n(?P<n>\d+)k16.f32.(?P<type>f16|bf16).(?:f16|bf16)",
        8,
        "emu_wgmma<{n}, {type}>({0.written}, {1.value}, {2.value}, {3.value}, {4.value}, {5.value}, {6.value}, {7.value});",
    ),
    Instruction(
        r"wgmma.mma_async.sync.aligned.m64n(?P<n>\d+)k8.f32.(?P<type>tf32).tf32",
        6,
        "emu_wgmma<{n}, {type}>({0.written}, {1.value}, {2.value}, {3.value}, {4.value}, {5.value});",
    ),
    Instruction(r"wgmma.fence.sync.aligned", 0, "emu_products_fence();"),
    Instruction(r"wgmma.commit_group.sync.aligned", 0, "emu_products_commit();"),
    Instruction(r"wgmma.wait_group.sync.aligned", 1, "emu_wgmma_wait({0.value});"),
    # copies
    Instruction(COPY, 3, "emu_cp_async({0.value}, {1.pointer}, {2.value}, {2.value});"),
    Instruction(COPY, 4, "emu_cp_async({0.value}, {1.pointer}, {2.value}, (int){3.value});"),
    Instruction(r"cp.async.commit_group", 0, "emu_copies_commit();"),
    Instruction(r"cp.async.wait_group", 1, "emu_cp_async_wait({0.value});"),
    Instruction(r"cp.async.wait_all", 0, "emu_cp_async_wait_all();"),
    # memory
    Instruction(rf"ld.global{CACHED}(?:.v[24])?.{WORD}", 2, "emu_load<{of}>({0.written}, {1.pointer});"),
    Instruction(rf"st.global{CACHED}(?:.v[24])?.{WORD}", 2, "emu_store<{of}>({0.pointer}, {1.read});"),
    Instruction(rf"ld.{SHARED}(?:.v[24])?.{WORD}", 2, "emu_load<{of}>({0.written}, emu_shared_pointer({1.value}, {0.bytes}, {0.bytes}));"),
    Instruction(rf"st.{SHARED}(?:.v[24])?.{WORD}", 2, "emu_store<{of}>(emu_shared_pointer({0.value}, {1.bytes}, {1.bytes}), {1.read});"),
    Instruction(r"cvta.to.shared.u(?:32|64)", 2, "{0.value} = emu_shared_address({1.pointer});"),
    # waiting
    Instruction(r"(?:bar|barrier)(?:.cta)?.sync(?:.aligned)?", 1, "emu_barrier({0.value}, -1, __LINE__);"),
    Instruction(r"(?:bar|barrier)(?:.cta)?.sync(?:.aligned)?", 2, "emu_barrier({0.value}, {1.value}, __LINE__);"),
    Instruction(r"bar.warp.sync", 1, "emu_warp_barrier({0.value});"),
    Instruction(r"fence.proxy.async(?:.shared::cta)?", 0, "emu_proxy_fence();"),
    Instruction(r"griddepcontrol.(?:wait|launch_dependents)", 0, DONE),
    Instruction(r"prefetch.global.L[12]", 1, DONE),
    # registers
    Instruction(r"mov.(?:b32|u32|s32|f32|b64|u64|s64|f64)", 2, "emu_move({0.value}, {1.value});"),
    Instruction(r"cvt.u32.u64", 2, "{0.value} = (uint32_t){1.value};"),
    Instruction(r"cvt.u64.u32", 2, "{0.value} = (uint64_t)(uint32_t){1.value};"),
    Instruction(
        r"setp.(?P<test>eq|ne|lt|le|gt|ge).(?P<of>b32|u32|s32|f32|b64|u64|s64)", 3, "{0.value} = ({of}){1.value} {test} ({of}){2.value};"
    ),
    Instruction(r"selp.(?:b32|u32|s32|f32)", 4, "{0.value} = {3.value} ? {1.value} : {2.value};"),
    Instruction(r"cvt.rn.f16x2.f32", 3, "{0.value} = emu_packed<half>({1.value}, {2.value});"),
    Instruction(r"cvt.rn.bf16x2.f32", 3, "{0.value} = emu_packed<nv_bfloat16>({1.value}, {2.value});"),
    Instruction(r"cvt.rna.tf32.f32", 2, "{0.value} = emu_to_tf32({1.value});"),
    # functions, whose approximation is not modelled
    Instruction(r"fma.rn(?:.ftz)?.f32", 4, "{0.value} = fmaf({1.value}, {2.value}, {3.value});"),
    Instruction(r"ex2.approx(?:.ftz)?.f32", 2, "{0.value} = exp2f({1.value});"),
    Instruction(r"lg2.approx(?:.ftz)?.f32", 2, "{0.value} = log2f({1.value});"),
    Instruction(r"rcp.approx(?:.ftz)?.f32", 2, "{0.value} = 1.0f / {1.value};"),
    Instruction(r"rsqrt.approx(?:.ftz)?.f32", 2, "{0.value} = 1.0f / sqrtf({1.value});"),
    Instruction(r"tanh.approx.f32", 2, "{0.value} = tanhf({1.value});"),
)

TYPES = {"f16": "EMU_F16", "bf16": "EMU_BF16", "tf32": "EMU_TF32", "f32": "EMU_F32"}
IN_MEMORY = {
    "b32": "uint32_t",
    "u32": "uint32_t",
    "s32": "int32_t",
    "f32": "float",
    "b64": "uint64_t",
    "u64": "uint64_t",
    "s64": "int64_t",
}
TESTS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
WORDS: Mapping[str, Mapping[str, str]] = {"type": TYPES, "sum": TYPES, "of": IN_MEMORY, "test": TESTS}


def statement(name: str, operands: list[Operands]) -> str | None:
    """The instruction in C++, or None where no row is for it."""
    for row in INSTRUCTIONS:
        match = re.fullmatch(row.pattern.replace(".", r"\."), name) if row.operands == len(operands) else None
        if match:
            return row.statement.format(*operands, **{group: _said(group, text) for group, text in match.groupdict().items()})
    return None


def _said(group: str, text: str | None) -> str:
    if group.startswith("is_"):
        return "false" if text is None else "true"
    assert text is not None, "only flags are optional"
    return WORDS[group][text] if group in WORDS else text
