"""Folders of pictures: those of 16 bits, those too large to decode, and names that steer a terminal."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from convc.compiler.files.images import load_image
from convc.compiler.training.pictures import read_pictures
from convc.ir.errors import InvalidInput
from convc.ir.types import TensorType

TYPE = TensorType("f32", (1, 1, 4, 4))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((4, 4), 51, np.uint8)).save(tmp_path / "a" / "a.png")
    return tmp_path


def test_greys_of_16_bits_are_scaled(folder):
    """Also for convc run, whose pixels lie in [0, 1]."""
    Image.fromarray((np.arange(16, dtype=np.uint16) * 4369).reshape(4, 4)).save(folder / "a" / "b.png")
    found = read_pictures(str(folder), TYPE, 2)
    assert found.pixels[1].ravel().tolist() == list(range(0, 256, 17))
    assert load_image(folder / "a" / "b.png", TYPE).ravel() == pytest.approx(np.arange(16) / 15)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as for whoever runs convc
def test_a_picture_of_100_million_pixels_is_not_decoded(folder):
    """Its few bytes say so, and hold no such picture."""
    large = folder / "a" / "large.png"
    large.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)) + chunk(b"IEND", b""))
    (line,) = read_pictures(str(folder), TYPE, 2).skipped
    assert "exceeds limit" in line
    with pytest.raises(InvalidInput, match="exceeds limit"):
        load_image(large, TYPE)


def test_a_files_name_steers_no_terminal(folder):
    (folder / "a" / "\x1b[2J.png").write_bytes(b"no picture")
    heard = []
    read_pictures(str(folder), TYPE, 2, heard.append)
    assert any("u{1b}[2J.png" in line for line in heard)
    assert not any("\x1b" in line for line in heard)
