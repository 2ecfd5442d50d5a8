"""How a network is compiled: one record for `cc.compile_network`, the command and the targets."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FP32", "PRECISIONS", "TF32", "CompileOptions"]

FP32 = "fp32"
TF32 = "tf32"
PRECISIONS = (FP32, TF32, "bf16", "fp16")


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """`target` may have a kind after a colon: cuda:sm_80. `winograd` is off, f2, f4 or auto; `jobs` kernels are compiled at a time
    and, unless not `cached`, kept for other networks;
    `database` is the directory with what `convc tune` found (default: the cache; off: none). With `check` every engine that runs here is
    held against float64, on inputs drawn by `seed`, by so many `threads` (default: one a physical core). `batches` are those that a GPU's
    library is made for (default: 1, 8, 32, 256), and unless not `cuda_graph` a run of one is a single launch.

    `precision` is one of PRECISIONS. In fp16 and bf16 the graph itself is (passes/to_float16.py); tf32 is no type: the graph stays, and
    kernels may multiply the upper 19 bits of float32. `calibration` files are inputs on which no layer may leave the range.

    Of a step of training `memory` is the share of what is live at once that is left, by computing values again; `in_place` outputs
    `NAME.next` are written over the inputs `NAME`.

    On a CPU `mcpu` is another processor than this machine's, by LLVM's name, and `mtriple` what it runs under, such as aarch64-linux-gnu.
    Several names with commas between them get a library each, of which the best is loaded that the processor has the instructions for;
    `among` are the names of all of them, in the options for one.
    """

    target: str = "cpu"
    level: int = 2
    opset: int | None = None
    threads: int | None = None
    winograd: str = "auto"
    jobs: int | None = None
    cached: bool = True
    database: str | None = None
    check: bool = True
    seed: int = 0
    batches: tuple[int, ...] | None = None
    cuda_graph: bool = True
    precision: str = FP32
    calibration: tuple[str, ...] = ()
    memory: float | None = None
    in_place: bool = False
    mcpu: str | None = None
    mtriple: str | None = None
    among: tuple[str, ...] = ()
