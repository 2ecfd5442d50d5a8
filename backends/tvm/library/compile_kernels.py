"""Each kernel compiled on its own: one that was compiled before comes from the cache, the others are compiled side by side.

A kernel becomes an object file whose one symbol is named by the hash of its contents. What is left of the module, the program that calls
kernels, calls them by these names, and the linker puts it all together.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ....ir.errors import UsageError
from ....ir.files import scratch_folder
from ....ir.progress import each
from ....ir.version import release
from ..attributes import IN_PLACE
from ..cpu.laid import STOCK
from ..host import most_threads, tvm
from ..store.cache import Cache
from .wrapping import compiling_target

__all__ = ["OURS", "ROOM", "Compiled", "calling_by_name", "checked_jobs", "compile_kernels", "is_kernel", "key_of", "known", "passes_for"]

OURS = "kernel"  # how names of kernels begin that a plan has; of those that TVM makes, with STOCK
FORMAT = "convc kernel 7"  # to be raised when the way from a kernel to its object file changes
KNOWN = 1024  # kernels whose hash is remembered, which holds on to them; makers hold on to as many
ROOM = 16 << 20  # bytes; LLVM ends the process where a disk has none left for an object file, which has some hundred thousand
# What TVM does to kernels for GPUs, or where a schedule asks for it: on others each of these walks through every statement to change none.
FOR_GPUS = (
    *("LowerCrossThreadReduction", "LiftThreadBinding", "ManifestSharedMemoryLocalStage", "LowerAutoCopy", "UnifyThreadBinding"),
    *("InjectPermutedLayout", "InjectSoftwarePipeline", "TransformMmaBufferLayout", "InjectVirtualThread", "InjectDoubleBuffer"),
    *("VerifyVTCMLimit", "LowerVtcmAlloc", "ThreadSync", "InferFragment", "LowerThreadAllreduce", "MergeSharedMemoryAllocations"),
)
# What tidies up after schedules and TE. Kernels of ours are written without loops of nothing, and a condition that does not change within a
# loop LLVM takes out of it, too: the same digits in the same time.
FOR_LOWERED = ("s_tir.HoistIfThenElse", "s_tir.RenormalizeSplitPattern", "tirx.RemoveNoOp")
IS_GLUE = "tirx.is_host_func"  # sizes of one network computed from each other: tiny, and in an order that varies from run to run


@dataclass(frozen=True, slots=True)
class Compiled:
    """`kernels` that differ, of which so many were `found` in the cache."""

    executable: Any
    kernels: int
    found: int


def checked_jobs(jobs: int) -> int:
    """Raises: UsageError for less than 1, or more than a few a processor, where each only waits and takes memory."""
    if not 1 <= jobs <= most_threads():
        raise UsageError(f"{jobs} jobs; at least 1 and at most {most_threads()}, four a processor, are possible")
    return jobs


def compile_kernels(module: Any, target: Any, jobs: int, cache: Cache | None = None) -> Compiled:
    """An executable of a module that its Relax pipeline has been through, by `jobs` threads: TVM lets go of the interpreter's lock.

    Whatever happens, kernels that were finished are kept.
    """
    host = tvm()
    kernels = {var: function for var, function in module.functions.items() if is_kernel(function)}
    names = {var: f"{OURS if IN_PLACE in function.attrs else STOCK}_{key_of(function, target)}" for var, function in kernels.items()}
    distinct = {names[var]: function for var, function in kernels.items()}
    found = {name: kept for name in distinct if cache is not None and (kept := cache.get(name)) is not None}
    missing = {name: function for name, function in distinct.items() if name not in found}
    objects = found | _compile_all(missing, target, jobs, cache)
    libraries = [_library(name, code) for name, code in objects.items()]
    rest = calling_by_name(module, names).with_attr("external_mods", libraries)
    executable = host.compile(rest, target=target, relax_pipeline=None)
    return Compiled(executable, len(distinct), len(found))


def is_kernel(function: Any) -> bool:
    return isinstance(function, tvm().tirx.PrimFunc) and IS_GLUE not in function.attrs


def key_of(function: Any, target: Any) -> str:
    """The hash of all that an object file depends on, the name that the network gave the kernel left out."""
    nameless = function.without_attr("global_symbol")
    contents = _contents_of_ours(_Ours(nameless)) if IN_PLACE in function.attrs else _contents(nameless)
    parts = (FORMAT, _compiler(), str(target), contents)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _contents(function: Any) -> str:
    """The hash of a kernel written out, which takes milliseconds."""
    return hashlib.sha256(tvm().ir.save_json(function).encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class _Ours:
    """A kernel of ours. Another is its equal if it has the very same parts, as one has that its maker remembered, and says the same of
    itself, in words and numbers. Parts that were made apart count as others: to compare what they hold takes as long as to write it out.
    """

    function: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ours) and self._attributes() == other._attributes() and all(map(_is_same, self._parts(), other._parts()))

    def __hash__(self) -> int:
        return hash(self.function.body)

    def _parts(self) -> tuple[Any, ...]:
        return self.function.body, self.function.params, self.function.ret_type, self.function.ty

    def _attributes(self) -> str:
        return tvm().ir.save_json(self.function.attrs)


def _is_same(one: Any, other: Any) -> bool:
    return one.same_as(other)


@functools.lru_cache(KNOWN)
def _contents_of_ours(kernel: _Ours) -> str:
    return _contents(kernel.function)


known = _contents_of_ours.cache_info


@functools.cache
def _compiler() -> str:
    llvm = tvm().get_global_func("target.llvm_version_major")()
    return f"TVM {tvm().__version__}, FFI {release('apache-tvm-ffi')}, LLVM {llvm}"


def _compile_all(kernels: dict[str, Any], target: Any, jobs: int, cache: Cache | None) -> dict[str, bytes]:
    def compiled(name: str) -> bytes:
        code = _compile_one(name, kernels[name], target)
        if cache is not None:
            cache.put(name, code)
        return code

    with ThreadPoolExecutor(jobs, thread_name_prefix="convc") as pool:
        waiting = {name: pool.submit(compiled, name) for name in kernels}
        try:
            return {name: waiting[name].result() for name in each("compiling kernels", waiting)}
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure or an interruption no other is begun
            if cache is not None and kernels:
                cache.trim()


def _compile_one(name: str, function: Any, target: Any) -> bytes:
    """An object file with the symbol `name`. Ours are written in vectors wherever they wrap around, and LLVM leaves those as they are."""
    host = tvm()
    module = host.IRModule.from_expr(function.with_attr("global_symbol", name))
    target = target if IN_PLACE in function.attrs else compiling_target(function, target)
    with passes_for(function):
        built = host.tirx.build(module, target=target, pipeline="default")
    with scratch_folder(ROOM) as folder:
        path = folder / "kernel.o"
        built.write_to_file(str(path))
        return path.read_bytes()


def passes_for(function: Any) -> Any:
    """In which a kernel for a processor is built: without checks that were made before, and without passes that it has nothing of.

    Scratch of ours stays where it is written. What TVM's StorageRewrite lays over each other it may still read: it knows a buffer that is
    written from one that is read by their names, and takes what goes by another one, of `decl_buffer`, for neither.
    """
    is_ours = IN_PLACE in function.attrs
    config = {"tirx.disable_assert": _is_checked(function), "tirx.disable_storage_rewrite": is_ours}
    left_out = [*(f"s_tir.{name}" for name in FOR_GPUS), *(FOR_LOWERED if is_ours else ())]
    return tvm().transform.PassContext(config=config, disabled_pass=left_out)


def _is_checked(function: Any) -> bool:
    """Whether what calls a kernel has seen to its arguments: always for ours, which planned programs call, and whose sizes are those of
    the inputs, compared at the door. TVM has a kernel test types, shapes and alignment once more at each call, which is most of the
    code of a small one, and a third to half of the time it takes to compile.
    """
    host = tvm()
    return IN_PLACE in function.attrs or all(
        isinstance(param.ty, host.tirx.BufferType) and all(isinstance(size, host.tirx.IntImm) for size in param.shape)
        for param in function.params
    )


def _library(name: str, code: bytes) -> Any:
    """An object file as a module that others link with."""
    with scratch_folder() as folder:
        path = folder / "kernel.o"
        path.write_bytes(code)
        return tvm().runtime.load_static_library(str(path), [name])


def calling_by_name(module: Any, names: dict[Any, str]) -> Any:
    """The module without the kernels in `names`, which it calls as functions from elsewhere."""
    host, functors = tvm(), importlib.import_module("tvm.relax.expr_functor")

    @functors.mutator
    class ByName(functors.PyExprMutator):
        def visit_global_var_(self, var: Any) -> Any:
            return host.relax.ExternFunc(names[var]) if var in names else var

    by_name = ByName()
    rest = {var: function for var, function in module.functions.items() if var not in names}
    changed = {
        var: by_name.visit_expr(function) if isinstance(function, host.relax.Function) else function for var, function in rest.items()
    }
    return host.IRModule(changed, attrs=module.attrs)
