"""Photographs and arrays that are given with -i: what is taken, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shell import array_header, convc, refused

PHOTO = Path(__file__).parent.parent / "data" / "cat.jpg"
RELU = "graph @g(%x: f32[N,4]) {\n  %y = relu(%x)\n  return %y\n}\n"


@pytest.mark.parametrize("given", ["x.npy", "x=x.npy"])
def test_run_takes_an_array_alone(tmp_path, given):
    (tmp_path / "net.cir").write_text(RELU)
    x = np.float32([[-1, 0.5, 2, 65]])
    np.save(tmp_path / "x.npy", np.asfortranarray(x.astype(np.float64)))
    done = convc("run", "net.cir", "-i", given, "--backend", "reference", "-o", "y.npz", cwd=tmp_path)
    assert done.code == 0, done.err
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], np.maximum(x, 0), strict=True)


class TestImages:
    def test_not_an_image(self, tmp_path):
        (tmp_path / "cat.jpg").write_text("meow")
        refused(convc("run", "filters", "-i", tmp_path / "cat.jpg", "--backend", "reference"), 3, "cannot be read as an image")

    def test_neither_picture_nor_arrays_by_name(self, tmp_path):
        (tmp_path / "x.csv").write_text("1,2,3")
        done = convc("run", "filters", "-i", tmp_path / "x.csv", "--backend", "reference")
        refused(done, 3, "is neither a photograph (.jpg, ", "nor arrays by name (.npz, as np.savez('x.npz', image=x) writes them)")

    def test_wrong_size_is_resized_only_when_asked(self):
        refused(
            convc("run", "resnet20", "-i", PHOTO, "--backend", "reference"), 3, "is 451x300 pixels, the input wants 32x32; pass --resize"
        )
        assert convc("run", "resnet20", "-i", PHOTO, "--resize", "--backend", "reference").code == 0

    def test_wrong_channels(self, tmp_path):
        Image.new("L", (451, 300)).save(tmp_path / "gray.png")
        refused(
            convc("run", "filters", "-i", tmp_path / "gray.png", "--backend", "reference"),
            3,
            "has 1 channels (L), the input is f32[N,3,300,451]",
        )

    def test_a_picture_for_a_vector(self, tmp_path):
        (tmp_path / "net.cir").write_text(RELU)
        refused(convc("run", tmp_path / "net.cir", "-i", PHOTO, "--backend", "reference"), 3, "is an image, but the input is f32[N,4]")


class TestArrays:
    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"y": np.zeros((1, 4), np.float32)}, ("no input is named 'y'", "the network has x")),
            ({"x": np.full((1, 4), -1e300)}, ("input 'x' holds -1e+300, beyond the range of float32",)),
            ({"x": np.zeros((1, 4), np.int64)}, ("input 'x' is int64, expected f32",)),
            ({"x": np.zeros((1, 5), np.float32)}, ("input 'x' has shape [1, 5], expected f32[N,4]",)),
            ({"x": np.full((1, 4), np.nan, np.float32)}, ("input 'x' holds NaN",)),
            ({}, ("input 'x' (f32[N,4]) is missing",)),
        ],
    )
    def test_arrays_that_do_not_fit(self, tmp_path, arrays, words):
        (tmp_path / "net.cir").write_text(RELU)
        np.savez(tmp_path / "x.npz", **arrays)
        refused(convc("run", tmp_path / "net.cir", "-i", tmp_path / "x.npz", "--backend", "reference"), 3, *words)

    @pytest.mark.parametrize("dtype", [np.float64, np.float16])
    def test_floats_are_cast_as_in_python(self, tmp_path, dtype):
        x = np.float32([[-1, 0.5, 2, 65]])
        (tmp_path / "net.cir").write_text(RELU)
        np.savez(tmp_path / "x.npz", x=x.astype(dtype))
        done = convc("run", "net.cir", "-i", "x.npz", "--backend", "reference", "-o", "y.npz", cwd=tmp_path)
        assert done.code == 0, done.err
        np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], np.maximum(x, 0), strict=True)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"no array", "it is not an array"),
            (array_header("(1, 4)") + bytes(12), "it declares 16 bytes and has 12"),
            (array_header("(4, 1000000000000000)") + bytes(12), "it declares 16,000,000,000,000,000 bytes and has 12"),
            (array_header("(1, 4)", "|O") + bytes(32), "it holds Python objects"),
            (array_header("(1, 4)")[:40], "cannot be read"),
            (b"", "it is not an array"),
            (array_header("(1, 5)") + bytes(20), "input 'x' has shape [1, 5], expected f32[N,4]"),
        ],
    )
    def test_an_array_alone_that_does_not_fit(self, tmp_path, content, words):
        (tmp_path / "net.cir").write_text(RELU)
        (tmp_path / "x.npy").write_bytes(content)
        refused(convc("run", tmp_path / "net.cir", "-i", tmp_path / "x.npy", "--backend", "reference"), 3, words)

    def test_a_pickle_is_not_opened(self, tmp_path):
        (tmp_path / "net.cir").write_text(RELU)
        np.savez(tmp_path / "x.npz", x=np.array([print], dtype=object))
        refused(convc("run", tmp_path / "net.cir", "-i", tmp_path / "x.npz", "--backend", "reference"), 3, "cannot be read")
