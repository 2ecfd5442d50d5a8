"""ONNX's own backend tests, through convc's backend: every case of operators that can be read passes or is named in listed.txt.

listed.txt holds a reason, then the cases it is the reason for; `tvm:` begins a case that only TVM misses. A case that is
listed and passes fails here too, so the list cannot grow old. `python tests/backends/onnx/test_conformance.py` prints the totals.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from convc.backends.onnx.read.operators import ROWS
from convc.compiler.engines.onnx_backend import backend
from convc.ir.errors import ConvcError
from convc.ir.types import DTYPES, widened
from convc.tests.support.middle_tier import TABLE
from convc.tests.support.once import once
from convc.tests.support.op_cases import CASES as OP_CASES

HERE = Path(__file__).parent
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
KINDS = ("simple", "pytorch-converted", "pytorch-operator")  # small models that come with the package, beside those of single nodes
TWO_PLACES = 2.0**-6  # of bfloat16, within which ONNX's own runner takes results of it

# Cases that differ in an attribute or a type, by how their names begin. TVM computes each such attribute in tests/backends/tvm/stock, too:
# these have TVM's turn for the others, which have it in the slow tier.
STAND_FOR = {
    "attention": (
        *("attention_4d", "attention_3d_gqa", "attention_4d_diff_heads_with_past_and_present_mask4d", "attention_4d_causal_bf16"),
        *("attention_4d_gqa_with_past_and_present_fp16", "attention_4d_attn_mask_bool", "attention_3d_gqa_softcap"),
        *("attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal", "attention_4d_gqa_causal_nonpad_decode"),
        *("attention_local_window_gqa_rank4_mask", "attention_causal_boolmask_nan_robustness"),
    ),
    "center_crop_pad": ("center_crop_pad_crop_and_pad", "center_crop_pad_crop_negative_axes_hwc"),
    "cumprod": ("cumprod_2d_int32", "cumprod_1d_reverse_exclusive"),
    "cumsum": ("cumsum_2d_axis_1", "cumsum_1d_reverse_exclusive"),
    "einsum": ("einsum_batch_diagonal", "einsum_batch_matmul_bfloat16", "einsum_scalar"),
    "gridsample": ("gridsample_bicubic", "gridsample_reflection_padding", "gridsample_volumetric_bilinear_align_corners_1"),
    "gru": ("gru_bidirectional", "gru_seq_length"),
    "hardmax": ("hardmax_one_hot", "hardmax_axis_1"),
    "lppool": ("lppool_1d_default", "lppool_2d_same_lower", "lppool_3d_default"),
    "lstm": ("lstm_bidirectional", "lstm_with_peepholes"),
    "mod": ("mod_broadcast", "mod_float_edge_cases_fmod_0_float16", "mod_mixed_sign_int8", "mod_int64_fmod"),
    "nonmaxsuppression": ("nonmaxsuppression_two_batches", "nonmaxsuppression_center_point_box_format"),
    "onehot": ("onehot_with_negative_axis", "onehot_with_bfloat16_values"),
    "rotary_embedding": ("rotary_embedding_3d_input", "rotary_embedding_with_interleaved_rotary_dim"),
    "scatter_elements": ("scatter_elements_with_negative_indices", "scatter_elements_with_reduction_mul"),
    "scatternd": ("scatternd_add", "scatternd_max_with_element_indices"),
    "simple_rnn": ("simple_rnn_bidirectional",),
    "tril": ("tril_out_neg", "tril_zero"),
    "triu": ("triu_pos", "triu_one_row"),
}
# The cases of tests/backends/tvm/stock/test_ops.py in which it does, by family; operators that are read as others have their attributes there.
STOCK = {
    "attention": ("attention",),
    "cumprod": ("running_products",),
    "cumsum": ("running",),
    "einsum": ("einsum",),
    "gridsample": ("grid_sample",),
    "gru": ("gru",),
    "lppool": ("lp_pools",),
    "lstm": ("lstm",),
    "mod": ("mod",),
    "onehot": ("one_hot",),
    "rotary_embedding": ("rotary_embedding",),
    "scatter_elements": ("scatter",),
    "scatternd": ("scatter",),
    "simple_rnn": ("rnn",),
    "tril": ("diagonals",),
    "triu": ("diagonals",),
}


@dataclass(frozen=True)
class OnnxCase:
    """Models with inputs and the answers that ONNX gives."""

    name: str
    model: ModelProto
    runs: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    @property
    def is_concerned(self) -> bool:
        """Whether every operator has a row."""
        return all(node.op_type in ROWS and node.domain in ("", "ai.onnx") for node in self.model.graph.node)


def all_cases() -> Iterator[OnnxCase]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases are computed as they load, some of them to infinity
        nodes = load_model_tests(kind="node")
    for case in nodes:
        runs = [([_plain(x) for x in inputs], [_plain(y) for y in outputs]) for inputs, outputs in case.data_sets]
        yield OnnxCase(case.name, case.model, runs, case.rtol, case.atol)
    for kind in KINDS:
        for folder in sorted((DATA / kind).iterdir()):
            if (folder / "model.onnx").is_file():
                model = onnx.load(folder / "model.onnx")
                if _has_tensors(model):
                    yield OnnxCase(folder.name, model, [_run(files) for files in sorted(folder.glob("test_data_set_*"))], 1e-3, 1e-7)


def _plain(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _has_tensors(model: ModelProto) -> bool:
    return all(value.type.HasField("tensor_type") for value in (*model.graph.input, *model.graph.output))


def _run(folder: Path) -> tuple[list[Any], list[Any]]:
    def arrays(what: str) -> list[Any]:
        count = len(list(folder.glob(f"{what}_*.pb")))
        files = (folder / f"{what}_{i}.pb" for i in range(count))
        return [numpy_helper.to_array(TensorProto.FromString(file.read_bytes())) for file in files]

    return arrays("input"), arrays("output")


def read_list() -> dict[str, str]:
    """Reason by case."""
    reasons: dict[str, str] = {}
    reason = ""
    for line in (HERE / "listed.txt").read_text().splitlines():
        if line.startswith("# "):
            reason = line[2:]
        elif line:
            assert line not in reasons, f"{line} is listed twice"
            reasons[line] = reason
    return reasons


ALL = once("onnx_cases", lambda: list(all_cases()))
CASES = {case.name: case for case in ALL if case.is_concerned}
LISTED = read_list()


def misses(engine: str, case: OnnxCase) -> str:
    """What is wrong with an engine's answers, or "" """
    prepared = backend(engine).prepare(case.model)
    for inputs, expected in case.runs:
        try:
            outputs = prepared.run(inputs)
        except ConvcError as error:
            return str(error)
        for got, wanted in zip(outputs, expected, strict=True):
            if got.dtype != np.asarray(wanted).dtype:
                return f"{got.dtype} in place of {np.asarray(wanted).dtype}"
            is_bfloat16 = got.dtype == DTYPES["bf16"]
            rtol = max(case.rtol, TWO_PLACES) if is_bfloat16 else case.rtol
            try:
                np.testing.assert_allclose(widened(got), widened(np.asarray(wanted)), rtol, case.atol)
            except AssertionError as error:
                return " ".join(str(error).split())
    return ""


def turns() -> Iterator[Any]:
    """Every case in both engines. Bodies of functions are made of operators that have cases of their own: TVM's turn is for the slow tier."""
    for name, engine in itertools.product(CASES, ("reference", "tvm")):
        is_slow = engine == "tvm" and ("_expanded" in name or is_stood_for(name.removeprefix("test_")))
        yield pytest.param(name, engine, id=f"{name}-{engine}", marks=[pytest.mark.slow] if is_slow else [])


def is_stood_for(name: str) -> bool:
    return any(name.startswith(family) and name not in those for family, those in STAND_FOR.items())


@pytest.mark.parametrize(("name", "engine"), list(turns()))
def test_case(name: str, engine: str):
    is_listed = name in LISTED or (engine == "tvm" and f"tvm:{name}" in LISTED)
    if is_listed and engine == "tvm" and name in LISTED:
        return  # refused before an engine is asked, as the reference's turn shows
    problem = misses(engine, CASES[name])
    assert bool(problem) == is_listed, problem or f"{name} passes now; take it off the list"


def test_the_list_names_cases():
    assert {name.removeprefix("tvm:") for name in LISTED} <= set(CASES)
    assert {f"test_{name}" for those in STAND_FOR.values() for name in those} <= set(CASES)


def test_what_tvm_computes_elsewhere_it_does_in_make_test():
    """Else a case that is stood for has its attribute nowhere."""
    later = TABLE["backends/tvm/stock/test_ops.py"]["test_agrees_with_the_reference"]
    assert set(STOCK) <= set(STAND_FOR)
    assert later.for_later([case for cases in STOCK.values() for case in cases]) == set()
    assert {case for cases in STOCK.values() for case in cases} <= set(OP_CASES)


@pytest.mark.parametrize("path", sorted((DATA / "light").glob("light_*.onnx")), ids=lambda path: path.stem)
def test_whole_models(path: Path):
    """Networks of the model zoo with weights that are made up, in the opsets of their time, on the inputs that ONNX's runner makes up."""
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    (value,) = [value for value in model.graph.input if value.name not in weights]
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    count = int(np.prod(shape))
    x = (np.arange(count).reshape(shape) / count).astype(np.float32)
    expected = numpy_helper.to_array(TensorProto.FromString((path.parent / f"{path.stem}_output_0.pb").read_bytes()))
    (got,) = backend("reference").prepare(model).run([x])
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)


def main() -> int:
    """Passed, listed and all cases for each engine."""
    wrong = 0
    for engine in ("reference", "tvm"):
        problems = {name: misses(engine, case) for name, case in CASES.items()}
        listed = sum(bool(problem) and (name in LISTED or f"tvm:{name}" in LISTED) for name, problem in problems.items())
        passed = sum(not problem for problem in problems.values())
        wrong += len(CASES) - passed - listed
        print(f"{engine}: {passed} passed, {listed} listed, {len(CASES)} cases of operators that have a row")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
