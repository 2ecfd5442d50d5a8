"""Pictures of every kind in the channels of an input: what the pixels are then, and what is said."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from convc.compiler.files.entering import IMAGENET
from convc.compiler.files.images import Preparing, load_image, load_views, upright_size
from convc.ir.errors import InvalidInput
from convc.ir.types import TensorType

COLOURS = TensorType("f32", (1, 3, 2, 2))
GREY = TensorType("f32", (1, 1, 2, 2))
RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [90, 120, 30]]], np.uint8)
PALETTE = Image.fromarray(RGB).quantize(4)


def clear(mode, color):
    return Image.new(mode, (2, 2), color)


@pytest.mark.parametrize(
    ("picture", "suffix", "type_", "pixel", "said"),
    [
        (clear("RGB", (51, 0, 255)), ".png", COLOURS, (0.2, 0, 1), []),
        (clear("L", 51), ".png", COLOURS, (0.2,) * 3, ["grey, taken as three equal channels"]),
        (clear("1", 1), ".png", COLOURS, (1,) * 3, ["black and white", "grey, taken as three equal channels"]),
        (clear("RGB", (255, 0, 0)), ".png", GREY, (76 / 255,), ["colours, taken as grey (ITU-R 601)"]),
        (clear("RGBA", (255, 0, 0, 0)), ".png", COLOURS, (1, 1, 1), ["transparency, laid over white"]),
        (clear("RGBA", (0, 0, 0, 51)), ".png", COLOURS, (0.8,) * 3, ["transparency, laid over white"]),
        (clear("RGBA", (51, 0, 0, 255)), ".png", TensorType("f32", (1, 4, 2, 2)), (0.2, 0, 0, 1), []),
        (clear("LA", (0, 0)), ".png", GREY, (1,), ["transparency, laid over white"]),
        (clear("CMYK", (0, 255, 255, 0)), ".tif", COLOURS, (1, 0, 0), ["CMYK, converted to RGB without a colour profile"]),
        (clear("I;16", 65535), ".png", GREY, (1,), ["16 bits, of which 8 are kept"]),
        (clear("I;16", 257 * 51), ".png", COLOURS, (0.2,) * 3, ["16 bits, of which 8 are kept", "grey, taken as three equal channels"]),
    ],
)
def test_what_a_pixel_is(tmp_path, picture, suffix, type_, pixel, said):
    path, heard = tmp_path / f"p{suffix}", []
    picture.save(path)
    assert load_image(path, type_, said=heard)[0, :, 0, 0] == pytest.approx(pixel, abs=1e-6)
    assert heard == said


def test_a_palette(tmp_path):
    PALETTE.save(tmp_path / "p.png")
    heard = []
    np.testing.assert_array_equal(load_image(tmp_path / "p.png", COLOURS, said=heard)[0], RGB.transpose(2, 0, 1) / np.float32(255))
    assert heard == ["a palette, whose colours are taken"]


def test_lab_is_what_a_colour_management_system_makes_of_it(tmp_path):
    """LittleCMS, which Pillow has; once its three bands were taken for red, green and blue."""
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    ramp = np.stack(np.meshgrid(np.arange(60, 220, 10), np.arange(60, 220, 10)), -1)  # at its edges sRGB is steep
    picture = Image.fromarray(np.concatenate([ramp, ramp[..., :1] // 2 + 60], -1).astype(np.uint8))
    ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB").save(tmp_path / "p.tif")
    with Image.open(tmp_path / "p.tif") as stored:
        assert stored.mode == "LAB"
        wanted = np.asarray(ImageCms.profileToProfile(stored, lab, srgb, outputMode="RGB"), np.float32)
    heard = []
    found = 255 * load_image(tmp_path / "p.tif", TensorType("f32", (1, 3, 16, 16)), said=heard)[0].transpose(1, 2, 0)
    error = abs(found - wanted)  # it goes by a table of coarse steps
    assert np.quantile(error, 0.9) <= 1
    assert error.max() < 10
    assert heard == ["LAB, converted to sRGB (CIE 1976, white D50)"]


def test_sixteen_bits_of_colours(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + bytes([51, 51, 0, 0, 255, 255]) * 2 for _ in range(2)))
    parts = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    heard = []
    assert load_image(tmp_path / "p.png", COLOURS, said=heard)[0, :, 0, 0] == pytest.approx((0.2, 0, 1))
    assert heard == ["16 bits, of which 8 are kept"]


def test_floating_point_pixels_have_no_range(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "p.tif")
    with pytest.raises(InvalidInput, match=r"its pixels are floating-point numbers, .* give them as \.npy"):
        load_image(tmp_path / "p.tif", GREY)


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int16], ids=lambda kind: kind.__name__)
def test_integers_of_an_unknown_range_are_refused(tmp_path, kind):
    """Once taken for 16 bits: what was of 0 to 255 became black, and what was of 32 bits white."""
    wide = tmp_path / "p.tif"
    Image.fromarray(np.full((2, 2), 200, np.int32)).save(wide)
    data = bytearray(wide.read_bytes())
    bits, form = ({np.int32: (32, 2), np.uint32: (32, 1), np.int16: (16, 2)})[kind]
    _set_tag(data, 258, bits)
    _set_tag(data, 339, form)
    wide.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"its pixels are integers of 32 bits or with a sign, .* give them as \.npy"):
        load_image(wide, GREY)


def _set_tag(tiff, tag, value):
    """Of a short TIFF of little-endian numbers, in place."""
    (directory,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, directory)
    (at,) = (at for at in range(directory + 2, directory + 2 + 12 * count, 12) if struct.unpack_from("<H", tiff, at)[0] == tag)
    struct.pack_into("<H", tiff, at + 8, value)


def test_integers_of_a_portable_greymap_are_of_16_bits(tmp_path):
    """Whatever its name; Pillow scales them to that, and has them in 32."""
    (tmp_path / "p.png").write_bytes(b"P5 2 2 1023\n" + struct.pack(">4H", 0, 1023, 341, 682))
    assert 3 * load_image(tmp_path / "p.png", GREY).ravel() == pytest.approx([0, 3, 1, 2], abs=1e-2)


def test_a_picture_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # its top is to the right
    Image.fromarray(RGB).save(tmp_path / "p.png", exif=exif)
    heard = []
    found = load_image(tmp_path / "p.png", COLOURS, said=heard)[0]
    np.testing.assert_array_equal(found, np.rot90(RGB, -1).transpose(2, 0, 1) / np.float32(255))
    assert heard == ["turned upright, as its EXIF has it"]


def test_the_size_of_what_is_turned_is_known_without_decoding(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "p.jpg", exif=exif)
    data = (tmp_path / "p.jpg").read_bytes()
    (tmp_path / "p.jpg").write_bytes(data[: data.index(b"\xff\xda")])  # no pixels follow
    assert upright_size(tmp_path / "p.jpg") == (48, 64)


def test_views_of_one_photograph_are_what_each_would_be(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "p.png")
    views = [(GREY, Preparing()), (COLOURS, Preparing(1.0)), (TensorType("f32", (1, 3, 6, 4)), Preparing(1.0))]
    heard = []
    for found, view in zip(load_views(tmp_path / "p.png", views, heard), views, strict=True):
        np.testing.assert_array_equal(found, load_image(tmp_path / "p.png", *view))
    assert heard == ["colours, taken as grey (ITU-R 601)"]


def test_the_middle_is_cut_out_and_not_squeezed(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    Image.fromarray(wide).save(tmp_path / "p.png")
    assert load_image(tmp_path / "p.png", TensorType("f32", (1, 3, 4, 4)), Preparing(1.0)).min() == 1


def test_imagenet_is_what_its_checkpoints_were_measured_with(tmp_path):
    """Scaled to 256 on the shorter side, 224 of it in the middle, normalized: torchvision's transforms, to the rounding of places."""
    smooth = np.add.outer(np.arange(512), np.arange(640)).astype(np.float32) / 1151
    Image.fromarray(np.stack([np.rint(255 * smooth).astype(np.uint8)] * 3, -1)).save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as stored:
        scaled = stored.resize((320, 256), Image.Resampling.BILINEAR).crop((48, 16, 272, 240))
    wanted = (np.asarray(scaled, np.float32) / 255 - IMAGENET.mean) / IMAGENET.deviation
    found = load_image(tmp_path / "p.png", TensorType("f32", (1, 3, 224, 224)), Preparing(256 / 224, IMAGENET))
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), wanted, atol=0.02)


def test_a_picture_of_an_odd_form_takes_no_memory(tmp_path):
    Image.new("L", (1_000_000, 1)).save(tmp_path / "p.png")
    assert load_image(tmp_path / "p.png", TensorType("f32", (1, 1, 224, 224)), Preparing(256 / 224)).shape == (1, 1, 224, 224)
