"""Run an ONNX model in onnxruntime, on the CPU or on a GPU."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...ir.binding import InputSizes, empty_outputs
from ...ir.errors import BackendMissing, ConvcError, InvalidModel, KernelMissing
from ...ir.graph import Graph, Node
from ...ir.memory import ran_out
from ...ir.ops.attention import ATTENTION
from ...ir.ops.integer import CONV_INTEGERS, MATMUL_INTEGER
from ...ir.types import Array
from .ort_values import FOREIGN, array_of, value_of

__all__ = ["Session", "accepts", "providers", "unoptimized", "version", "why_no_cuda"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
OPTIONS = {"cuda": {"use_tf32": "0"}}  # by itself it would compute float32 with 10 bits
CUDA_LIBRARIES = ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so")  # the first has what the second calls
ONE_ZERO = {MATMUL_INTEGER: 2, **dict.fromkeys(CONV_INTEGERS, 3)}  # the operand of which onnxruntime takes one number alone
PROJECTIONS = 3  # operands of attention before those that may be left out
SILENT = 4  # onnxruntime's severity "fatal": it speaks on stderr otherwise, also of GPUs that are not there


class Session:
    """A loaded model. `graph` says what its inputs are; `run` takes and gives arrays by name.

    Without `rewrites` onnxruntime computes each operator as the file has it, and products of 8 bits without saturating in between.
    What it makes of the model goes to the file `optimized`; such a model runs as it is with a `trace`, where every operator is timed, in a
    file of that name and more.
    """

    def __init__(
        self,
        graph: Graph,
        model: bytes | Path,
        threads: int | None = None,
        *,
        device: str = "cpu",
        rewrites: bool = True,
        optimized: Path | None = None,
        trace: Path | None = None,
    ) -> None:
        """Raises: BackendMissing without onnxruntime or CUDA; KernelMissing; InvalidModel if it refuses the model."""
        ort = _onnxruntime()
        _need_kernels(graph)
        options = _options(ort)
        if not rewrites:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.x64quantprecision", "1")
        if optimized is not None:
            options.optimized_model_filepath = str(optimized)
        if trace is not None:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.enable_profiling, options.profile_file_prefix = True, str(trace)
        if threads is not None:
            options.intra_op_num_threads = threads
        provider = PROVIDERS[device]
        if device != "cpu" and (why := why_no_cuda()):
            raise BackendMissing(f"onnxruntime cannot use CUDA here: {why}")
        wanted = [(provider, OPTIONS.get(device, {})), *([] if device == "cpu" else [PROVIDERS["cpu"]])]
        self.graph = graph
        self._sizes = InputSizes(graph)
        self._is_foreign = any(node.typed.dtype in FOREIGN for node in (*graph.inputs, *graph.outputs))
        try:
            self._session = ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=wanted)
        except Exception as error:
            if (lack := ran_out(error)) is not None:
                raise lack from error
            # the class is not exported by name; functions that it writes out in float32 are refused by their types
            if type(error).__name__ == "NotImplemented" or "tensor(bfloat16)" in str(error):
                raise KernelMissing(f"onnxruntime lacks a kernel for @{graph.name}: {_first_line(error)}") from error
            raise InvalidModel(f"onnxruntime refuses @{graph.name}: {_first_line(error)}") from error
        if provider not in self._session.get_providers():
            raise BackendMissing("onnxruntime does not take its CUDA provider, which loads; it may want another release of CUDA or cuDNN")

    def run(self, inputs: Mapping[str, Array], wanted: Sequence[str] | None = None) -> dict[str, Array]:
        """Outputs by name, all of them or those wanted.

        Raises: InvalidInput for arrays that do not fit the graph; ConvcError if the run fails.
        """
        sizes = self._sizes.of(inputs)
        names = list(dict.fromkeys(wanted or (node.name for node in self.graph.outputs)))
        if any(0 in array.shape for array in inputs.values()) and (nothing := empty_outputs(self.graph, sizes)) is not None:
            return {name: nothing[name] for name in names}  # onnxruntime fails on some: a -1 of its Reshape, a MatMul that broadcasts
        try:
            results = self._run(inputs, names)
        except Exception as error:
            if (lack := ran_out(error)) is not None:
                raise lack from error
            raise ConvcError(f"onnxruntime failed on @{self.graph.name}: {_first_line(error)}") from error
        return dict(zip(names, results, strict=True))

    def events(self) -> list[dict[str, Any]]:
        """What was timed, in the form of Chrome's traces. The session is then no longer timed."""
        return json.loads(Path(self._session.end_profiling()).read_bytes())

    def _run(self, inputs: Mapping[str, Array], names: list[str]) -> list[Array]:
        if not self._is_foreign:
            return self._session.run(names, dict(inputs))
        return list(map(array_of, self._session.run_with_ort_values(names, {name: value_of(array) for name, array in inputs.items()})))


def _need_kernels(graph: Graph) -> None:
    """Raises: KernelMissing for what onnxruntime loads and then fails on, whatever the inputs are: zero points of its left operand's rows,
    or of filters; a mask of one axis. Source: matmul_integer.cc, conv_integer.cc, attention_helper.h.
    """
    for node in graph.ops:
        zeros, mask = _operand(node, ONE_ZERO.get(node.kind)), _mask(node)
        if zeros is not None and zeros.typed.shape not in ((), (1,)):
            raise KernelMissing(
                f"onnxruntime lacks a kernel for @{graph.name}: {node.where} with the zero points %{zeros.name}: {zeros.type}"
            )
        if mask is not None and mask.typed.rank == 1:
            raise KernelMissing(f"onnxruntime lacks a kernel for @{graph.name}: {node.where} with the mask %{mask.name}: {mask.type}")


def _operand(node: Node, place: int | None) -> Node | None:
    return node.inputs[place] if place is not None and len(node.inputs) > place else None


def _mask(node: Node) -> Node | None:
    if node.kind is not ATTENTION or "mask" not in node.op.given:
        return None
    return _operand(node, PROJECTIONS + node.op.given.index("mask"))


def accepts(model: bytes) -> bool:
    """Whether onnxruntime loads the model; False too when it is not installed."""
    try:
        ort = _onnxruntime()
    except BackendMissing:
        return False
    try:
        ort.InferenceSession(model, _options(ort), providers=[PROVIDERS["cpu"]])
    except Exception:  # any refusal is the answer no
        return False
    return True


def unoptimized(model: bytes) -> Any:
    """A session that computes a model as it is written.

    Raises: BackendMissing without onnxruntime; whatever onnxruntime raises for a model that it refuses.
    """
    ort = _onnxruntime()
    options = _options(ort)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=[PROVIDERS["cpu"]])


def providers() -> list[str]:
    """The execution providers that this onnxruntime was built with."""
    return list(_onnxruntime().get_available_providers())


def why_no_cuda(folder: Path | None = None) -> str:
    """Why onnxruntime's CUDA provider does not load here, from `folder` or where it lies; empty where it does. onnxruntime itself says
    nothing, and takes the CPU.

    Raises: BackendMissing without onnxruntime.
    """
    ort = _onnxruntime()
    if PROVIDERS["cuda"] not in providers():
        return "this onnxruntime has no CUDA provider; pip install onnxruntime-gpu"
    if hasattr(ort, "preload_dlls") and importlib.util.find_spec("nvidia"):
        ort.preload_dlls(directory="")  # those that pip installed
    try:
        for name in CUDA_LIBRARIES:
            ctypes.CDLL(str((folder or Path(ort.__file__).parent / "capi") / name), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return f'its provider does not load ({error}); pip install "onnxruntime-gpu[cuda,cudnn]"'
    return ""


def version() -> str:
    return str(_onnxruntime().__version__)


def _onnxruntime() -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read as the package loads, which else leaves a file in TMPDIR
    try:
        ort = importlib.import_module("onnxruntime")
        ort.disable_telemetry_events()  # where somebody else had loaded it
        return ort
    except ImportError as error:
        raise BackendMissing(f"onnxruntime cannot be imported ({error}); pip install onnxruntime") from error


def _options(ort: Any) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    return options


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
