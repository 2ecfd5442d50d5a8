"""Files that nobody vouches for: each kind that is not what it says ends in one sentence, and nothing else is heard."""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from convc.compiler.files import picture_file
from convc.compiler.files.images import Preparing, load_image
from convc.compiler.files.numpy_file import load_npy
from convc.compiler.training.checkpoint import VERSION, read_checkpoint
from convc.ir.errors import InvalidInput
from convc.ir.types import TensorType
from convc.tests.support.shell import RELU, array_header, convc, refused

PICTURE = TensorType("f32", (1, 3, 8, 8))


def saved(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, form)
    return data.getvalue()


HEADERS = {
    "more than memory has addresses": (
        array_header(f"({10**30}, 0)"),
        "declares float32[1000000000000000000000000000000, 0], which no array is",
    ),
    "elements of no bytes": (array_header("(1000000000000,)", "|V0"), "declares |V0[1000000000000], which no array is"),
    "texts of no letters": (array_header("(1000000000000,)", "<U0"), "which no array is"),
    "a truth for an extent": (array_header("(True,)") + bytes(4), "declares float32[True], which no array is"),
    "fewer than none": (array_header("(-1, 0)"), "declares float32[-1, 0], which no array is"),
    "a header that is too long": (array_header("(" + "1," * 10_000 + ")"), "says nothing of its shape and type that NumPy knows"),
    "a type that is none": (array_header("(1,)", "f4,f5"), "says nothing of its shape and type that NumPy knows"),
}


@pytest.mark.parametrize(("data", "why"), HEADERS.values(), ids=HEADERS)
def test_an_array_that_cannot_be(tmp_path, data, why):
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(InvalidInput) as error:
        load_npy(tmp_path / "x.npy")
    assert why in str(error.value)
    assert str(error.value).isprintable()


ENDLESS = {
    "a comment": (b"P6\n#" + b"c" * 100_000 + b"\n8 8 255\n" + bytes(192)),
    "chunks": (png := saved("PNG"))[:33] + (b"\0\0\0\0abCd" + struct.pack(">I", zlib.crc32(b"abCd"))) * 100_000 + png[33:],
    "segments": (jpeg := saved("JPEG"))[:2] + b"\xff\xe5\0\2" * 100_000 + jpeg[2:],
}


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
def test_a_picture_that_takes_too_long(tmp_path, monkeypatch, data):
    (tmp_path / "x.png").write_bytes(data)
    monkeypatch.setattr(picture_file, "LONGEST", 0.02)
    with pytest.raises(InvalidInput, match=r"x\.png' cannot be read as an image: it is not decoded after 0\.02 s of a processor$"):
        load_image(tmp_path / "x.png", PICTURE, Preparing(scaled=1))


SAID = {"version": VERSION, "steps": 1, "done": 0, "loss": "0x0p+0", "accuracy": "0x0p+0", "settings": {}, "epochs": []}
CHECKPOINTS = {
    "lists in lists": ("[" * 100_000, "recursion"),
    "settings without names": (json.dumps(SAID | {"settings": [1]}), "its settings have no names"),
    "a sum that is no number": (json.dumps(SAID | {"loss": "nan"}), "its loss is nan"),
    "a sum without end": (json.dumps(SAID | {"accuracy": "-inf"}), "its accuracy is -inf"),
}


@pytest.mark.parametrize(("said", "why"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_that_cannot_be(tmp_path, said, why):
    save_file({"w": np.zeros(1, np.float32)}, tmp_path / "w.safetensors", {"convc": said})
    with pytest.raises(InvalidInput, match=f"is no checkpoint of convc: .*{why}"):
        read_checkpoint(tmp_path / "w.safetensors")


def test_a_picture_is_read_by_what_it_is_and_postscript_is_never_run(tmp_path):
    (tmp_path / "x.png").write_bytes(saved("EPS"))
    with pytest.raises(InvalidInput, match=r"cannot be read as an image: cannot identify image file '[^<>]*'"):
        load_image(tmp_path / "x.png", PICTURE, Preparing(1.0))
    (tmp_path / "x.png").write_bytes(saved("BMP"))
    assert load_image(tmp_path / "x.png", PICTURE, Preparing(1.0)).shape == PICTURE.shape


def test_what_is_damaged_of_a_picture_is_said_in_our_words(tmp_path):
    """Pillow would print two lines of Python."""
    data, entry = saved("TIFF"), (284).to_bytes(2, "little") + (3).to_bytes(2, "little")
    at = data.rfind(entry)
    (tmp_path / "x.tif").write_bytes(data[: at + 4] + (27).to_bytes(4, "little") + data[at + 8 :])
    said = list[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_image(tmp_path / "x.tif", PICTURE, Preparing(1.0), said)
    assert any(line.startswith("damaged (") and "284" in line for line in said)


def test_what_pillow_logs_of_a_damaged_picture_is_not_heard(tmp_path):
    data, entry = saved("TIFF"), (277).to_bytes(2, "little") + (3).to_bytes(2, "little")
    at = data.rfind(entry)
    (tmp_path / "x.tif").write_bytes(data[: at + 8] + (127).to_bytes(2, "little") + data[at + 10 :])
    (tmp_path / "net.cir").write_text(RELU.replace("N,4", "N,3,8,8"))
    refused(convc("run", "net.cir", "-b", "reference", "-i", "x.tif", cwd=tmp_path), 3, "'x.tif' cannot be read as an image")


def test_a_name_that_is_too_long_is_no_fault_of_the_results(tmp_path):
    (tmp_path / "net.cir").write_text(RELU)
    name = "x" * (os.pathconf(tmp_path, "PC_NAME_MAX") + 1)
    refused(convc("run", "net.cir", "-b", "reference", "-i", f"{name}.png", cwd=tmp_path), 2, "cannot open 'xxxx", "File name too long")
