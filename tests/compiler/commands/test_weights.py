"""Weights in and out on the command line: own names, PyTorch's names, PyTorch's files, and nothing unpickled."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from convc.tests.support.pickles import Payload
from convc.tests.support.shell import array_header, convc, refused

SMALL = ("squeezenet1_1", "--input", "image:N,3,64,64")


def stored(path: Path) -> dict[str, np.ndarray]:
    return load_file(path) if path.suffix == ".safetensors" else dict(np.load(path))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    done = convc("export", *SMALL, "-o", path)
    assert done.code == 0, done.err
    assert f"wrote {path}" in done.err
    return path


@pytest.fixture(scope="module")
def theirs(own: Path) -> Path:
    """The same weights as torchvision would save them."""
    order = {"conv1": 0, "fire2": 3, "fire3": 4, "fire4": 6, "fire5": 7, "fire6": 9, "fire7": 10, "fire8": 11, "fire9": 12}
    arrays = {}
    for name, array in load_file(own).items():
        layer, _, rest = name.partition(".")
        module = "classifier.1" if layer == "conv10" else f"features.{order[layer]}"
        arrays[f"{module}.{rest}".removesuffix(".w").removesuffix(".b") + (".weight" if name.endswith(".w") else ".bias")] = array
    path = own.with_name("torchvision.safetensors")
    save_file(arrays, path)
    return path


# --- out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize(
    "model",
    [("resnet20",), ("filters",), ("googlenet_bn", "--set", "transform_input=true", "--set", "classes=3")],
    ids=lambda model: model[0],
)
def test_what_is_exported_is_read_again(model: tuple[str, ...], suffix: str, tmp_path: Path):
    """Other values than the network's own go in, and come out as they went in."""
    assert convc("export", *model, "-o", tmp_path / f"a{suffix}").code == 0
    other = {name: array + 1 for name, array in stored(tmp_path / f"a{suffix}").items()}
    assert other
    save_file(other, tmp_path / "other.safetensors")
    done = convc("export", *model, "--weights", tmp_path / "other.safetensors", "-o", tmp_path / f"b{suffix}")
    assert done.code == 0, done.err
    back = stored(tmp_path / f"b{suffix}")
    assert back.keys() == other.keys()
    for name, array in back.items():
        np.testing.assert_array_equal(array, other[name], strict=True)


def test_the_same_bytes_come_out_twice(own: Path, tmp_path: Path):
    for name in ("a.safetensors", "a.npz"):
        assert convc("export", *SMALL, "--weights", own, "-o", tmp_path / name).code == 0
    assert (tmp_path / "a.safetensors").read_bytes() == own.read_bytes()
    assert convc("export", *SMALL, "--weights", tmp_path / "a.npz", "-o", tmp_path / "b.npz").code == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("option", [("-O", "2"), ("--opset", "17")])
def test_weights_are_of_the_network_as_written(option: tuple[str, str], tmp_path: Path):
    refused(convc("export", *SMALL, "-o", tmp_path / "w.npz", *option), 2, "as written", f"leave out {option[0]}")
    assert not list(tmp_path.iterdir())


def test_weights_are_written_whole_or_not_at_all(own: Path, tmp_path: Path):
    (tmp_path / "w.npz").write_text("mine")
    broken = load_file(own)
    broken["conv10.b"][3] = np.nan
    save_file(broken, tmp_path / "nan.safetensors")
    done = convc("export", *SMALL, "--weights", tmp_path / "nan.safetensors", "-o", tmp_path / "w.npz")
    refused(done, 3, "%conv10.b = param", "1 of 1000 weights are NaN;")
    assert (tmp_path / "w.npz").read_text() == "mine"
    refused(convc("export", *SMALL, "-o", tmp_path / "none" / "w.npz"), 2, "there is no folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nan.safetensors", "w.npz"]


# --- in, by PyTorch's names --------------------------------------------------------------------------------------------


def test_pytorchs_names_are_understood_and_said(own: Path, theirs: Path, tmp_path: Path):
    done = convc("export", *SMALL, "--weights", theirs, "-o", tmp_path / "w.safetensors")
    assert done.code == 0, done.err
    assert "by PyTorch's names; nothing was left out" in done.err
    assert (tmp_path / "w.safetensors").read_bytes() == own.read_bytes()
    assert convc("-q", "export", *SMALL, "--weights", theirs, "-o", tmp_path / "w.safetensors").err == ""


def test_counters_are_left_out_visibly(theirs: Path, tmp_path: Path):
    save_file({**load_file(theirs), "features.0.num_batches_tracked": np.zeros((), np.int64)}, tmp_path / "w.safetensors")
    assert "left out 1 *.num_batches_tracked" in convc("summary", *SMALL, "--weights", tmp_path / "w.safetensors").err


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("resnet50", ("has PyTorch's names", "use resnet50_v1_5")),
        ("lenet5", ("@lenet5 has no table of them", "squeezenet1_1", "convc export MODEL")),
        (
            "squeezenet1_0",
            ("does not fit @squeezenet1_0", "features.5.squeeze.weight (here fire4.squeeze.w)", "its names are those of squeezenet1_1"),
        ),
    ],
)
def test_weights_of_another_network(model: str, words: tuple[str, ...], theirs: Path):
    refused(convc("summary", model, "--weights", theirs), 3, *words)


# --- PyTorch's own files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.npz", "w.safetensors", "objects.npz"])
def test_a_malicious_pickle_is_never_run(name: str, tmp_path: Path):
    mark = tmp_path / "mark"
    if name == "objects.npz":
        np.savez(tmp_path / name, w=np.array([Payload(mark)], dtype=object))
    else:
        (tmp_path / name).write_bytes(pickle.dumps({"conv1.weight": Payload(mark)}))
    done = convc("summary", "resnet18", "--weights", tmp_path / name)
    assert done.code in (3, 5), (done.out, done.err)
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert not mark.exists()
    with np.load(tmp_path / name, allow_pickle=True) if name == "objects.npz" else open(tmp_path / name, "rb") as file:
        assert file["w"].size if name == "objects.npz" else pickle.load(file)
    assert mark.exists(), "the payload works where somebody unpickles"


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("raise ImportError('not installed')", ("needs PyTorch, which cannot be imported here: `pip install torch`",)),
        ("__version__ = '2.5.1+cpu'", ("PyTorch 2.5.1+cpu", "CVE-2025-32434", "`pip install 'torch>=2.6'`")),
    ],
)
def test_without_a_pytorch_that_is_safe(package: str, words: tuple[str, ...], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of that name stands in front of one that may be installed."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"{package}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / f"w{suffix}").write_bytes(b"")
    refused(convc("summary", "resnet18", "--weights", tmp_path / f"w{suffix}"), 5, *words, "safetensors.torch.save_file(model.state_dict()")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"w.npy": array_header("(1000000000000000,)") + bytes(8)}, "'w' declares 4,000,000,000,000,000 bytes and has 8"),
        ({"w.npy": array_header("(2,)") + bytes(12)}, "'w' declares 8 bytes and has 12"),
        ({"w.npy": array_header("(-2,)")}, "declares float32\\[-2\\], which no array is"),
        ({"w.npy": b"no array"}, "'w' is not an array"),
        ({"\x1b[2J.npy": b"no array"}, r"'\\u\{1b\}\[2J' is not an array"),
        ({"w.npy": array_header("(1,)", "|O") + bytes(8)}, "'w' holds Python objects"),
    ],
)
def test_an_archive_is_believed_only_as_far_as_its_bytes_go(members: dict[str, bytes], words: str, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    done = convc("summary", "resnet18", "--weights", tmp_path / "w.npz")
    refused(done, 3)
    assert re.search(words, done.err)


def test_an_archive_of_far_more_than_the_network_takes_is_not_unpacked(tmp_path: Path):
    """A gigabyte of zeros takes a thousandth of that, and seconds."""
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", array_header("(30000000,)") + bytes(120_000_000))
    done = convc("summary", "lenet5", "--weights", tmp_path / "w.npz")
    refused(done, 3, "w.npz' would unpack to 120,000,0", "expected at most 69,", "use safetensors")


def test_an_archive_with_one_name_twice(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("w.npy", array_header("(1,)") + bytes(4))
        archive.writestr("w", array_header("(1,)") + bytes(4))
    refused(convc("summary", "resnet18", "--weights", tmp_path / "w.npz"), 3, "'w' is in it twice")


def test_an_archive_that_would_fill_the_memory(tmp_path: Path):
    """Five members that say they are 4 GiB each: refused by what the archive says of itself."""
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr(zipfile.ZipInfo("w.npy"), array_header("(2,)") + bytes(8))
    data = bytearray((tmp_path / "w.npz").read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    one = bytes(data[entry : entry + 46 + len("w.npy")])
    end = bytearray(data[data.index(b"PK\x05\x06") :])
    end[8:12] = (5).to_bytes(2, "little") * 2
    end[12:16] = (5 * len(one)).to_bytes(4, "little")
    (tmp_path / "w.npz").write_bytes(bytes(data[:entry]) + 5 * one + bytes(end))
    refused(convc("summary", "resnet18", "--weights", tmp_path / "w.npz"), 3, "would unpack to 21,474,836,400 bytes", "use safetensors")


def test_a_number_type_that_numpy_does_not_have(tmp_path: Path):
    header = b'{"conv1.weight":{"dtype":"F8_E5M2","shape":[2],"data_offsets":[0,2]}}'
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    refused(convc("summary", "resnet18", "--weights", tmp_path / "w.safetensors"), 3, "float8_e5m2", "save them as float32")


def test_an_unknown_suffix(tmp_path: Path):
    (tmp_path / "w.bin").write_bytes(b"")
    refused(convc("summary", "resnet18", "--weights", tmp_path / "w.bin"), 3, "none of .safetensors, .npz, .pt and .pth")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_floats_of_another_width_are_cast_and_that_is_said(tmp_path, dtype):
    weights = np.float32([[1, 2, 0.5, -4]]).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    save_file({"w": weights}, tmp_path / "w.safetensors")
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[N,4]) {\n  %w = param : f32[1,4]\n  %y = dense(%x, %w)\n  return %y\n}\n")
    np.save(tmp_path / "x.npy", np.ones((1, 4), np.float32))
    done = convc("run", "net.cir", "--weights", "w.safetensors", "-i", "x.npy", "-b", "reference", "-o", "y.npz", cwd=tmp_path)
    assert done.code == 0, done.err
    assert f"w.safetensors: 1 of 1 parameters are {dtype}, cast to float32" in done.err
    assert np.load(tmp_path / "y.npz")["y"].tolist() == [[-0.5]]


def test_a_number_that_the_narrower_type_does_not_have_is_refused(tmp_path):
    save_file({"w": np.full((1, 4), 1e300)}, tmp_path / "w.safetensors")
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[N,4]) {\n  %w = param : f32[1,4]\n  %y = dense(%x, %w)\n  return %y\n}\n")
    done = convc("run", "net.cir", "--weights", "w.safetensors", "-b", "reference", cwd=tmp_path)
    refused(done, 3, "'w.safetensors' holds 1e+300, beyond the range of f32")
