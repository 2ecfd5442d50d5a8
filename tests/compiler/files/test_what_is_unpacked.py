"""A file of a few thousand bytes unpacks to gigabytes: what cannot be used of it is refused by its headers, and the rest is read once."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convc.compiler.files.calibration import read_calibration
from convc.compiler.files.images import AS_THEY_ARE
from convc.compiler.files.inputs import read_batches, read_inputs
from convc.compiler.files.model import Request, load
from convc.compiler.training.checkpoint import read_checkpoint
from convc.compiler.training.pictures import read_pictures
from convc.ir import memory
from convc.ir.binding import as_declared
from convc.ir.errors import InvalidInput, OutOfMemory
from convc.ir.types import TensorType
from convc.models import ZOO
from convc.tests.support.graphs import typed_graph

ONE = typed_graph("graph @one(%x: f32[N,4]) {\n  %y = relu(%x)\n  return %y\n}\n")
TWO = typed_graph("graph @two(%x: f32[N,4], %z: f32[N,4]) {\n  %y = add(%x, %z)\n  return %y\n}\n")
GREAT, SMALL = 1 << 20, 1 << 21  # elements of 4 bytes, and bytes that a refusal may take
FLOATS = np.zeros(GREAT, np.float32)


def traced(act) -> int:
    """Bytes that it has taken at once."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def batches(graph, *given):
    return lambda: list(read_batches(graph, given, AS_THEY_ARE, lambda line: None))


def inputs(graph, *given):
    return lambda: read_inputs(graph, given)


def calibration(graph, file):
    return lambda: read_calibration(graph, [file])


def pictures(file):
    return lambda: read_pictures(file, TensorType("f32", ("N", 3, 8, 8)), 10)


def weights():
    return load(Request("lenet5", weights=Path("a.npz")), ZOO)


LABELS = np.zeros(4, np.int64)
REFUSED = {
    "run, a shape": (batches(ONE, "a.npz"), {"x": FLOATS}, r"input 'x' has shape \[1048576\], expected f32\[N,4\]"),
    "verify, a shape": (inputs(ONE, "a.npz"), {"x": FLOATS}, r"input 'x' has shape \[1048576\], expected f32\[N,4\]"),
    "a name": (inputs(ONE, "a.npz"), {"strange": FLOATS}, r"'a\.npz': no input is named 'strange'; the network has x$"),
    "a type": (inputs(ONE, "a.npz"), {"x": FLOATS.view(np.int32).reshape(-1, 4)}, "input 'x' is int32, expected f32"),
    "another width, a shape": (inputs(ONE, "a.npz"), {"x": FLOATS.view(np.float64)}, "input 'x' has shape"),
    "under a name": (inputs(ONE, "x=a.npz"), {"any": FLOATS.reshape(-1, 8)}, "input 'x' has shape"),
    "too many under a name": (inputs(ONE, "x=a.npz"), {"x": FLOATS, "b": FLOATS}, "holds 2 arrays, one is wanted"),
    "one of two, a shape": (inputs(TWO, "a.npz"), {"z": FLOATS.reshape(-1, 8)}, "input 'z' has shape"),
    "one of two, a type": (inputs(TWO, "a.npz"), {"z": FLOATS.view(np.int32).reshape(-1, 4)}, "input 'z' is int32"),
    "two of other batches": (inputs(TWO, "a.npz"), {"x": FLOATS.reshape(-1, 4), "z": np.zeros((1, 4), np.float32)}, "'z' has shape"),
    "calibration, a shape": (calibration(ONE, "a.npz"), {"x": FLOATS}, r"'a\.npz': input 'x' has shape"),
    "calibration, a name": (calibration(TWO, "a.npz"), {"x": FLOATS, "b": FLOATS}, r"'a\.npz': no input is named 'b'"),
    "calibration, rows": (calibration(TWO, "a.npz"), {"x": FLOATS, "z": LABELS}, "holds 1048576 of x, 4 of z"),
    "weights, a shape": (weights, {"c1.w": FLOATS}, r"does not fit @lenet5: missing .*; of another shape or type c1\.w is \[1048576\]"),
    "weights, PyTorch's": (weights, {"conv1.weight": FLOATS}, r"has PyTorch's names, and @lenet5 has no table of them"),
    "pictures, none": (pictures("a.npz"), {"y": FLOATS}, "has none of x, images, x_train"),
    "pictures, labels": (pictures("a.npz"), {"x": FLOATS, "y": FLOATS}, r"labels are \[1048576\] float32"),
    "pictures, a shape": (pictures("a.npz"), {"x": FLOATS.reshape(4, -1), "y": LABELS}, r"pictures are \[4, 262144\]"),
    "pictures, channels": (pictures("a.npz"), {"x": FLOATS.reshape(4, 512, 256, 2), "y": LABELS}, "pictures are"),
}


@pytest.mark.parametrize(("read", "arrays", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_fit_is_not_unpacked(tmp_path, monkeypatch, read, arrays, why):
    monkeypatch.chdir(tmp_path)
    np.savez_compressed("a.npz", **arrays)

    def refused():
        with pytest.raises(InvalidInput, match=why):
            read()

    assert traced(refused) < SMALL


def test_an_array_that_cannot_fit_is_not_read(tmp_path):
    np.save(tmp_path / "x.npy", FLOATS)

    def refused():
        with pytest.raises(InvalidInput, match="input 'x' has shape"):
            read_inputs(ONE, [str(tmp_path / "x.npy")])

    assert traced(refused) < SMALL


def test_what_is_no_checkpoint_is_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=FLOATS)

    def refused():
        with pytest.raises(InvalidInput, match="is no checkpoint of convc"):
            read_checkpoint(tmp_path / "a.npz")

    assert traced(refused) < SMALL


def test_what_is_neither_pictures_nor_labels_is_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((4, 8, 8, 3), np.uint8), y=LABELS, x_test=FLOATS)
    assert traced(pictures(str(tmp_path / "a.npz"))) < SMALL


def test_inputs_are_read_once(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=FLOATS.reshape(-1, 4))
    assert traced(batches(ONE, str(tmp_path / "a.npz"))) < 1.5 * FLOATS.nbytes


def test_inputs_to_calibrate_on_are_held_twice(tmp_path):
    """As they are read, and as they are divided."""
    wide = typed_graph(f"graph @wide(%x: f32[N,{GREAT // 64}]) {{\n  %y = relu(%x)\n  return %y\n}}\n")
    np.savez_compressed(tmp_path / "a.npz", x=np.repeat(np.arange(64, dtype=np.float32)[:, None], GREAT // 64, 1))
    assert traced(calibration(wide, str(tmp_path / "a.npz"))) < 2.5 * FLOATS.nbytes


def test_a_cast_without_room_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "free_bytes", lambda: 1 << 20)
    with pytest.raises(OutOfMemory, match=r"input 'x', cast to float32, takes 6 MiB, of which 1 MiB are free; give it in that type"):
        as_declared(ONE, {"x": np.broadcast_to(np.zeros(()), (GREAT // 4, 4))})


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_would_be_inflated_whole_is_refused(tmp_path, method):
    """zipfile reads so much of what is packed, not of what it unpacks to: a few hundred bytes would take half a gigabyte at once."""
    array = io.BytesIO()
    np.save(array, np.zeros((4, 4), np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", array.getvalue())
    with pytest.raises(InvalidInput, match=r"'x' is packed as NumPy packs none; write it with np\.savez"):
        read_inputs(ONE, [str(tmp_path / "a.npz")])
