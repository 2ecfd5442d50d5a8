"""Memory that is not there: one sentence with what was needed and what there is, exit code 6, before it is taken wherever sizes are known."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from google.protobuf.message import EncodeError

from convc.ir.errors import OutOfMemory
from convc.ir.memory import free_bytes, in_units, memory_sentences
from convc.tests.support.shell import Result, refused

LIMIT = 6 << 30  # bytes of addresses; libraries take some without using them
GREAT_VALUE = """graph @g(%x: f32[N,1,8,8]) {
  %u = resize(%x) {scales=[4000.0,4000.0], mode=nearest, coordinates=asymmetric}
  %y = global_avg_pool(%u)
  return %y
}
"""
GREAT_WEIGHTS = """graph @g(%x: f32[N,100000]) {
  %w = param : f32[100000,100000]
  %y = dense(%x, %w)
  return %y
}
"""
SMALL = "graph @g(%x: f32[N,4]) {\n  %y = relu(%x)\n  return %y\n}\n"
TOO_MUCH = [
    (GREAT_VALUE, ("run", "net.cir", "-b", "reference"), "%u = resize (net.cir:2)"),
    (GREAT_VALUE, ("run", "net.cir"), "memory ran out"),
    (GREAT_VALUE, ("compile", "net.cir", "-o", "out"), "%u = resize (net.cir:2)"),
    (GREAT_WEIGHTS, ("export", "net.cir", "-o", "net.onnx"), "parameter 'w'"),
    (GREAT_WEIGHTS, ("run", "net.cir"), "@g with its weights"),
    (GREAT_WEIGHTS, ("bisect", "net.cir"), "parameter 'w'"),
    (SMALL, ("verify", "net.cir", "--input", "x:100000000000,4"), "input 'x'"),
    (SMALL, ("run", "net.cir", "--input", "x:100000000000,4"), "input 'x'"),
    (SMALL, ("bench", "net.cir", "--batch", "100000000000", "--backends", "reference"), "input 'x'"),
]


def limited(*words, cwd):
    """`convc` in a process that gets no more than LIMIT."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))

    command = [sys.executable, "-m", "convc", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, preexec_fn=limit, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(("network", "words", "what"), TOO_MUCH, ids=[" ".join(words) for _, words, _ in TOO_MUCH])
def test_what_does_not_fit_is_refused_with_numbers(tmp_path, network, words, what):
    (tmp_path / "net.cir").write_text(network)
    done = limited(*words, cwd=tmp_path)
    refused(done, 6, what, *([] if what == "memory ran out" else ["GiB", "free"]))
    assert [path.name for path in tmp_path.iterdir()] == ["net.cir"], "nothing was left"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 5.70 TiB for an array with shape (1,)"), "for 5.70 TiB"),
        (RuntimeError("std::bad_alloc"), "memory ran out"),
        (ImportError("libjpeg.so.62: failed to map segment from shared object"), "memory ran out"),
        (RuntimeError("can't start new thread"), "memory ran out"),
        (EncodeError("Failed to serialize proto"), "memory ran out"),
        (RuntimeError("Failed to allocate memory for requested buffer of size 4294967296"), "for 4.0 GiB"),
    ],
)
def test_what_packages_say_of_memory_is_one_sentence(error, said):
    def fail():
        with memory_sentences():
            raise error

    with pytest.raises(OutOfMemory, match=said) as caught:
        fail()
    assert caught.value.exit_code == 6
    assert "free" not in str(caught.value), "all was let go of by then"
    assert "--input" not in str(caught.value), "weights and archives have no such option"


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="CUDA: out of memory"), memory_sentences():
        raise RuntimeError("CUDA: out of memory")


def test_units_are_those_of_which_there_is_one():
    assert [in_units(nbytes) for nbytes in (0, 1023, 40 << 10, 3 << 20, 1_600_000_000)] == [
        "0 bytes",
        "1023 bytes",
        "40 KiB",
        "3 MiB",
        "1.5 GiB",
    ]


def test_what_is_free_is_known():
    free = free_bytes()
    assert free is not None
    assert 1 << 20 < free < 1 << 45
