"""random_uniform: the same bits in every engine and file, and numbers that no test of ours tells from chance."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from scipy.special import chdtrc

from convc.backends.onnx.write.export import to_model
from convc.backends.reference import run
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import ShapeError
from convc.ir.ops.random_uniform import MODULUS, RANDOM_UNIFORM, RandomUniform
from convc.tests.support.graphs import typed_graph

COUNT = 1 << 20
SEEDS = [0, 1, -5, MODULUS, 2**31 - 1, MODULUS - 2**31]  # below, what rounding down takes away is beyond 32 bits


def drawn(seed, stream=0, count=COUNT):
    return RANDOM_UNIFORM.meaning(RandomUniform((count,), stream), np.array(seed, np.int32))


@pytest.fixture(scope="module")
def numbers():
    return typed_graph(
        "graph @g(%x: f32[N,5], %seed: i32[]) {"
        "%u = random_uniform(%seed) {shape=[N,3,7], stream=4} %w = random_uniform(%seed) {shape=[4200000]} return %u, %w }"
    )


def of(seed):
    return {"x": np.zeros((9, 5), np.float32), "seed": np.array(seed, np.int32)}


@pytest.mark.parametrize("engine", ["onnx", "tvm"])
def test_bits_are_the_same_in_every_engine(numbers, engine):
    started = ENGINES[engine].start(numbers, 2)
    for seed in SEEDS:
        got, wanted = started(of(seed)), run(numbers, of(seed))
        assert all(np.array_equal(got[name].view(np.int32), wanted[name].view(np.int32)) for name in wanted)


@pytest.mark.parametrize("opset", [11, 17, 21])
def test_bits_are_the_same_in_a_plain_file(numbers, opset):
    model = to_model(numbers, opset)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    wanted = run(numbers, of(77))
    for name, value in zip(("u", "w"), ReferenceEvaluator(model).run(None, of(77)), strict=True):
        assert np.array_equal(value.view(np.int32), wanted[name].view(np.int32))


def test_known_numbers():
    """A change of these changes every training run that somebody wants to repeat."""
    assert (drawn(0, 0, 4) * MODULUS**2).round().astype(int).tolist() == [307542, 366221, 2874930, 1587174]


def chance(counts):
    """That counts of what is even lie so far from each other, or farther: Pearson's test, without scipy.stats, a second to import."""
    mean = counts.mean()
    return chdtrc(len(counts) - 1, ((counts - mean) ** 2).sum() / mean)


def test_numbers_lie_in_the_interval_evenly():
    u = drawn(3).astype(np.float64)
    assert 0 <= u.min() < 1e-5
    assert 1 - 1e-5 < u.max() < 1
    assert chance(np.bincount((u * 256).astype(int), minlength=256)) > 1e-4


@pytest.mark.parametrize(("seed", "stream", "shift"), [(3, 0, 1), (3, 0, MODULUS), (4, 0, 0), (3, 1, 0), (3, MODULUS, 0)])
def test_pairs_are_independent(seed, stream, shift):
    """Of neighbours, of other seeds, of other streams."""
    u, v = drawn(3)[: COUNT - shift], drawn(seed, stream)[shift:]
    pairs = (u * 64).astype(int) * 64 + (v * 64).astype(int)
    assert chance(np.bincount(pairs, minlength=4096)) > 1e-4


@pytest.mark.parametrize(
    ("shape", "stream", "seed", "said"),
    [
        ("[2]", 0, "i64[]", "seed is i64[], expected one number, i32[]"),
        ("[2]", MODULUS**2, "i32[]", "stream 4157521 is outside"),
        ("[-2]", 0, "i32[]", "none negative"),
        ("[65536,32769]", 0, "i32[]", "a stream has 2,147,483,648 numbers"),
    ],
)
def test_what_is_refused(shape, stream, seed, said):
    with pytest.raises(ShapeError, match=r"random_uniform") as caught:
        typed_graph(f"graph @g(%seed: {seed}) {{ %u = random_uniform(%seed) {{shape={shape}, stream={stream}}} return %u }}")
    assert said in str(caught.value)
