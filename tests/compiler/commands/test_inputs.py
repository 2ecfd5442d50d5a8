"""Photographs and arrays given with -i, sizes with --input: what is taken, and what is refused in one sentence."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from convc.tests.support.places import PHOTO
from convc.tests.support.shell import RELU, array_header, convc, refused


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
        (tmp_path / "net.cir").write_text("graph @g(%x: f32[N,2,4,4]) {\n  %y = relu(%x)\n  return %y\n}\n")
        Image.new("L", (4, 4)).save(tmp_path / "gray.png")
        done = convc("run", tmp_path / "net.cir", "-i", tmp_path / "gray.png", "--backend", "reference")
        refused(done, 3, "has 1 channels (L), the input is f32[N,2,4,4]")

    def test_a_picture_for_a_vector(self, tmp_path):
        (tmp_path / "net.cir").write_text(RELU)
        refused(convc("run", tmp_path / "net.cir", "-i", PHOTO, "--backend", "reference"), 3, "is an image, but the input is f32[N,4]")


class TestArrays:
    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"y": np.zeros((1, 4), np.float32)}, ("no input is named 'y'", "the network has x")),
            ({"x": np.full((1, 4), -1e300)}, ("input 'x' holds -1e+300, beyond the range of float32",)),
            ({"x": np.zeros((1, 5), np.float32)}, ("input 'x' has shape [1, 5], expected f32[N,4]",)),
            ({"x": np.full((1, 4), np.nan, np.float32)}, ("input 'x' holds NaN",)),
            ({}, ("input 'x' (f32[N,4]) is missing",)),
        ],
    )
    def test_arrays_that_do_not_fit(self, tmp_path, arrays, words):
        (tmp_path / "net.cir").write_text(RELU)
        np.savez(tmp_path / "x.npz", **arrays)
        refused(convc("run", tmp_path / "net.cir", "-i", tmp_path / "x.npz", "--backend", "reference"), 3, *words)

    @pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", ">f4", "float32"])
    def test_floats_of_another_width_are_cast_and_that_is_said(self, tmp_path, dtype):
        x = np.float32([[-1, 0.5, 2, 65]])
        (tmp_path / "net.cir").write_text(RELU)
        np.savez(tmp_path / "x.npz", x=x.astype(getattr(ml_dtypes, dtype, dtype)))
        done = convc("run", "net.cir", "-i", "x.npz", "--backend", "reference", "-o", "y.npz", cwd=tmp_path)
        assert done.code == 0, done.err
        np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], np.maximum(x, 0), strict=True)
        said = [line for line in done.err.splitlines() if "cast" in line]
        assert said == ([] if dtype in (">f4", "float32") else [f"input 'x' is {dtype}, cast to float32"])

    @pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "complex64"])
    def test_what_is_no_float_is_refused_and_not_cast(self, tmp_path, dtype):
        (tmp_path / "net.cir").write_text(RELU)
        np.save(tmp_path / "x.npy", np.ones((1, 4), dtype))
        done = convc("run", "net.cir", "-i", "x.npy", "--backend", "reference", cwd=tmp_path)
        refused(done, 3, f"input 'x' is {dtype}, expected f32; convert it with .astype('float32')")

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


POOLED = """graph @pooled(%image: f32[N,3,32,32]) {
  %w = param : f32[8,3,3,3]
  %c = conv2d(%image, %w) {strides=[2,2]}
  %m = max_pool(%c) {kernel=[5,5], strides=[2,2]}
  %y = global_avg_pool(%m)
  return %y
}
"""


class TestNamedSizes:
    def test_summary_has_names_in_place_of_numbers(self):
        lines = convc("summary", "lenet5", "--input", "image:N,1,32,32").out.splitlines()
        named = convc("summary", "resnet18", "--input", "image:N,3,H,W").out.splitlines()
        assert "[HxWx3]" in named[0]
        assert "memory: H*W*3 " in named[0]
        assert "9408*((H+1)//2)*((W+1)//2) MACs" in named[1]
        assert named[-3].endswith("values * 4 bytes = 489.9 KiB / image, where H=32, W=32")
        assert not any("where" in line for line in lines)

    def test_summary_in_json_has_expressions_as_texts(self):
        record = json.loads(convc("summary", "resnet18", "--input", "image:N,3,H,W", "--json").out)
        assert record["layers"][0]["memory_values"] == "3*H*W"
        assert record["totals"]["macs"].startswith("9408*((H+1)//2)*((W+1)//2)+")
        assert record["sizes"] == {"H": 32, "W": 32}
        at_numbers = json.loads(convc("summary", "resnet18", "--input", "image:N,3,32,32", "--json").out)
        assert record["totals_at_sizes"] == at_numbers["totals"]
        assert "sizes" not in at_numbers

    def test_figures_of_windows_that_are_larger_than_one(self, tmp_path):
        (tmp_path / "net.cir").write_text(
            "graph @g(%x: f32[N,3,H,W]) {\n  %w = param {init=he} : f32[4,3,7,7]\n  %y = conv2d(%x, %w)\n  %z = relu(%y)\n  return %z\n}"
        )
        convc("export", tmp_path / "net.cir", "-o", tmp_path / "net.onnx", "-O0")
        done = convc("optimize", tmp_path / "net.onnx", tmp_path / "better.onnx")
        assert done.code == 0, done.err
        assert "macs        397,488" in done.out  # 4*3*7*7 * 26*26, at 32 rows and columns
        assert "figures are counted where H=32, W=32" in done.err

    def test_the_check_of_compile_takes_a_size_that_fits(self, tmp_path):
        (tmp_path / "net.cir").write_text(POOLED)
        done = convc("compile", tmp_path / "net.cir", "--input", "image:N,3,H,W", "-o", tmp_path / "net")
        assert done.code == 0, done.err
        np.savez(tmp_path / "tiny.npz", image=np.zeros((1, 3, 40, 24), np.float32))
        assert convc("run", tmp_path / "net", "-i", tmp_path / "tiny.npz").code == 0

    @pytest.mark.parametrize("backend", ["tvm", "onnx", "reference"])
    def test_a_picture_too_small_for_a_layer_is_refused_by_every_backend(self, tmp_path, backend):
        np.savez(tmp_path / "tiny.npz", image=np.zeros((1, 3, 2, 2), np.float32))
        done = convc("run", "googlenet", "--input", "image:N,3,H,W", "-i", tmp_path / "tiny.npz", "--backend", backend)
        refused(done, 3, "the network does not work with N=1, H=2, W=2", "larger than its padded input")

    def test_other_inputs_reach_the_attributes_of_a_text(self, tmp_path):
        text = "graph @g(%x: f32[N,2,H,4]) {\n  %r = resize(%x) {sizes=[2*H,8]}\n  %y = reshape(%r) {shape=[N,-1]}\n  return %y\n}\n"
        (tmp_path / "net.cir").write_text(text)
        for shape, want in (("1,2,3,4", "f32[1,96]"), ("B,2,3,4", "f32[B,96]"), ("N,2,5*W,4", "f32[N,160*W]")):
            done = convc("inspect", tmp_path / "net.cir", "--input", f"x:{shape}", "-O0", "--ir")
            assert f": {want}" in done.out, done.out + done.err
        assert convc("run", tmp_path / "net.cir", "--input", "x:1,2,3,4", "-b", "reference").code == 0

    def test_one_of_two_inputs_gives_both_their_size(self, tmp_path):
        (tmp_path / "net.cir").write_text("graph @g(%a: f32[N,2], %b: f32[N,2]) {\n  %y = expand(%b) {shape=[N,2]}\n  return %y, %a\n}\n")
        done = convc("inspect", tmp_path / "net.cir", "--input", "b:7,2", "-O0", "--ir")
        assert "%a: f32[7,2], %b: f32[7,2]" in done.out, done.out + done.err

    def test_names_of_inputs_may_hold_a_colon(self, tmp_path):
        (tmp_path / "net.cir").write_text('graph @g(%"x:0": f32[N,4]) {\n  %y = relu(%"x:0")\n  return %y\n}\n')
        done = convc("inspect", tmp_path / "net.cir", "--input", "x:0:3,4", "--ir")
        assert "f32[3,4]" in done.out, done.err

    def test_a_batch_in_numbers_is_still_counted_per_image(self):
        whole = convc("summary", "resnet18", "--input", "image:4,3,224,224").out
        assert whole == convc("summary", "resnet18").out


class TestComputedSizes:
    NET = """graph @net(%x: f32[N,4,8,2*W+2]) {
  %v = param : f32[4,4,1,1]
  %a = conv2d(%x, %v) {strides=[2,2]}
  %w = param : f32[4,4,1,1]
  %b = conv2d(%a, %w) {strides=[2,2]}
  return %b
}
"""

    def test_one_library_takes_what_fits_and_says_what_would(self, tmp_path):
        (tmp_path / "net.cir").write_text(self.NET)
        done = convc("compile", "net.cir", "-o", "net", cwd=tmp_path)
        assert done.code == 0, done.err
        for columns in (6, 12):
            np.save(tmp_path / "x.npy", np.random.default_rng(0).random((2, 4, 8, columns), np.float32))
            results = []
            for words in (("net",), ("net.cir", "--backend", "reference"), ("net/model.onnx", "--backend", "onnx")):
                done = convc("run", *words, "-i", "x.npy", "-o", "y.npz", cwd=tmp_path)
                assert done.code == 0, done.err
                results.append(np.load(tmp_path / "y.npz")["b"])
            for result in results:
                np.testing.assert_allclose(result, results[0], rtol=1e-4, atol=1e-6, strict=True)
        np.save(tmp_path / "x.npy", np.zeros((2, 4, 8, 7), np.float32))
        sentence = (
            "input 'x' has shape [2, 4, 8, 7], expected f32[N,4,8,2*W+2] with N=2; axis 3 is 7, and 2*W+2 is 6 where W=2, 8 where W=3"
        )
        refused(convc("run", "net", "-i", "x.npy", cwd=tmp_path), 3, sentence)

    def test_shapes_given_by_name_or_number(self, tmp_path):
        (tmp_path / "net.cir").write_text(self.NET.replace("return %b", "%r = resize(%b) {sizes=[4,W]}\n  return %r"))
        for shape, result in (("1,4,8,22", "f32[1, 4, 4, 10]"), ("1,4,8,2*K+4", "f32[1, 4, 4, 33]")):
            done = convc("run", "net.cir", "--backend", "reference", "--input", f"x:{shape}", cwd=tmp_path)
            assert done.code == 0, done.err
            assert result in done.out + done.err

    def test_no_size_is_negative(self, tmp_path):
        (tmp_path / "net.cir").write_text("graph @net(%x: f32[N,1], %k: f32[1,(N+1)//2+N-1]) {\n  return %k\n}\n")
        sentence = "of which (N+1)//2+N-1 is -1 where N=0, and no size is negative; give N=1 or more"
        for command in ("summary", "verify", "run"):
            refused(convc(command, "net.cir", "--input", "x:0,1", cwd=tmp_path), 3, sentence)
