"""Weights in another file: read only from below the model's folder, written only beside it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import convc as cc
from convc.backends import reference
from convc.backends.onnx.file import external
from convc.backends.onnx.file.limits import LIMITS, Limits
from convc.backends.onnx.file.reading import read_model
from convc.backends.onnx.file.saving import ALIGNMENT, save_model
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.compiler.files.inputs import random_inputs
from convc.ir.errors import InvalidModel, UsageError
from convc.tests.support import onnx_files as files

DATA = files.WEIGHT.tobytes()
SHA1 = hashlib.sha1(DATA).hexdigest()
needs_posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and sockets as POSIX has them")


@pytest.fixture(params=["by descriptor", "by path"])
def home(request, tmp_path, monkeypatch):
    """A model's folder with `w.bin` in it, and `secret.bin` outside; both ways of opening files."""
    if request.param == "by path":
        monkeypatch.setattr(external, "NO_FOLLOW", 0)
    elif not external.NO_FOLLOW:
        pytest.skip("this platform opens files by path only")
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "w.bin").write_bytes(DATA)
    (tmp_path / "secret.bin").write_bytes(DATA)
    return folder


def stored(folder, *entries):
    """The file of a model whose weight has these (key, value) pairs."""
    return files.written(folder, files.small_model(external=entries))


def opened(folder, *entries, limits=LIMITS):
    """That model, read."""
    return read_model(stored(folder, *entries), limits)


def weight(model):
    return model.array(model.proto.graph.initializer[0])


def refusal(folder, *entries, limits=LIMITS):
    return files.refusal(stored(folder, *entries), limits)


@pytest.mark.parametrize(
    "entries",
    [
        [("location", "w.bin")],
        [("location", "./w.bin"), ("offset", "0"), ("length", "32")],
        [("location", "w.bin"), ("checksum", SHA1)],
        [("location", "w.bin"), ("checksum", SHA1.upper())],
    ],
    ids=str,
)
def test_external_weights_are_read(home, entries):
    values = weight(opened(home, *entries))
    assert np.array_equal(values, files.WEIGHT)
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0


def test_weights_in_the_middle_of_a_file_in_a_folder(home):
    (home / "weights").mkdir()
    (home / "weights" / "all.bin").write_bytes(bytes(5) + DATA + bytes(7))
    assert np.array_equal(weight(opened(home, ("location", "weights/all.bin"), ("offset", "5"), ("length", "32"))), files.WEIGHT)


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "../home/w.bin",
        "a/../w.bin",
        "./../secret.bin",
        "weights/../../secret.bin",
        "..",
        ".",
        "",
        "/etc/passwd",
        "//etc/passwd",
        "a//w.bin",
        "w.bin/",
        "..\\secret.bin",
        "C:\\secret.bin",
        "C:secret.bin",
        "w.bin:stream",
        "\\\\server\\share\\secret.bin",
        "w.bin\0.txt",
        "w\x1b[2J.bin",
        "a" * 256,
        "/".join("a" * 40),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_locations_outside_the_folder(home, location):
    """CVE-2022-25882 (`../`), CVE-2024-27318 (what got around the check for it), and the same in Windows."""
    assert "only paths below the model's folder are read" in refusal(home, ("location", location))


def test_absolute_locations_that_exist(home):
    assert "absolute" in refusal(home, ("location", str(home / "w.bin")))


@needs_posix
def test_links(home):
    """A link inside the folder leads wherever its author wants."""
    secret = home.parent / "secret.bin"
    (home / "soft.bin").symlink_to(secret)
    (home / "inside.bin").symlink_to("w.bin")
    (home / "up").symlink_to(home.parent)
    (home / "deep").mkdir()
    (home / "deep" / "up").symlink_to("../..")
    os.link(secret, home / "hard.bin")
    for location in ("soft.bin", "inside.bin", "up/secret.bin", "deep/up/secret.bin"):
        assert "link" in refusal(home, ("location", location))
    assert "2 names (hard links)" in refusal(home, ("location", "hard.bin"))


@needs_posix
def test_what_is_no_plain_file(home):
    os.mkfifo(home / "pipe")
    (home / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(home)  # such names are short
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
        for location in ("pipe", "folder", "socket", "missing.bin", "w.bin/x", "missing/w.bin"):
            assert "cannot be opened" in refusal(home, ("location", location))


@needs_posix
def test_devices(home):
    try:
        os.mknod(home / "zero", 0o644 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes device files")
    assert "not a plain file" in refusal(home, ("location", "zero"), ("length", "32"))


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "names no location"),
        ([("location", "w.bin"), ("location", "../secret.bin")], "'location' twice"),
        ([("location", "w.bin"), ("basepath", "/etc")], "the key 'basepath'"),
        ([("location", "w.bin"), ("__class__", "x")], "the key '__class__'"),
        ([("location", "w.bin"), ("Offset", "0")], "the key 'Offset'"),
        ([("location", "w.bin"), ("file_path", "/etc/passwd")], "the key 'file_path'"),
        ([("location", "w.bin"), ("", "x")], "the key ''"),
        ([("location", "w.bin"), ("offset", "-1")], "only digits"),
        ([("location", "w.bin"), ("offset", "+1")], "only digits"),
        ([("location", "w.bin"), ("offset", " 1")], "only digits"),
        ([("location", "w.bin"), ("offset", "1_0")], "only digits"),
        ([("location", "w.bin"), ("offset", "0x1")], "only digits"),
        ([("location", "w.bin"), ("offset", "1e3")], "only digits"),
        ([("location", "w.bin"), ("offset", "")], "only digits"),
        ([("location", "w.bin"), ("offset", "٣")], "only digits"),
        ([("location", "w.bin"), ("offset", "1\n")], "only digits"),
        ([("location", "w.bin"), ("length", "9" * 5000)], "at most 19"),
        ([("location", "w.bin"), ("offset", "1")], "31 bytes"),
        ([("location", "w.bin"), ("offset", "33")], "which has 32"),
        ([("location", "w.bin"), ("length", "33")], "which has 32"),
        ([("location", "w.bin"), ("length", "31")], "take 32"),
        ([("location", "w.bin"), ("offset", "1"), ("length", "32")], "which has 32"),
        ([("location", "w.bin"), ("offset", "9" * 19), ("length", "9" * 19)], "which has 32"),
        ([("location", "w.bin"), ("checksum", "0" * 40)], "has the SHA-1"),
        ([("location", "w.bin"), ("checksum", "abc")], "40 hexadecimal digits"),
        ([("location", "w.bin"), ("checksum", SHA1 + "\n")], "40 hexadecimal digits"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ascii(value)[:60],
)
def test_entries_that_are_wrong(home, entries, why):
    assert why in refusal(home, *entries)


def test_data_in_two_places(home):
    model = files.small_model(external=[("location", "w.bin")])
    model.graph.initializer[0].raw_data = DATA
    (home / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidModel, match="names external data too"):
        read_model(home / "net.onnx")
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    (home / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidModel, match="not marked as external"):
        read_model(home / "net.onnx")


def test_attributes_and_inner_graphs_are_no_way_around(home):
    outside = files.small_model(external=[("location", "../secret.bin")]).graph.initializer[0]
    inner = helper.make_graph([], "inner", [], [], [outside])
    inner.initializer[0].name = "inner.w"
    for attribute in (helper.make_attribute("value", outside), helper.make_attribute("body", inner)):
        model = files.small_model()
        model.graph.node[0].attribute.append(attribute)
        (home / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(InvalidModel, match="only paths below"):
            read_model(home / "net.onnx")


def test_many_tensors_of_one_file_are_counted(home):
    model = files.small_model(external=[("location", "w.bin")])
    for index in range(9):
        model.graph.initializer.append(model.graph.initializer[0])
        model.graph.initializer[-1].name = f"w{index}"
    (home / "net.onnx").write_bytes(model.SerializeToString())
    assert len(read_model(home / "net.onnx", Limits(external_bytes=320)).files) == 1
    with pytest.raises(InvalidModel, match="more than 319 bytes"):
        read_model(home / "net.onnx", Limits(external_bytes=319))


def test_a_huge_file_is_not_hashed(home):
    with (home / "w.bin").open("ab") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    assert "bytes of external data" in refusal(home, ("location", "w.bin"), ("length", "32"), ("checksum", SHA1))


@pytest.mark.parametrize("change", ["replaced", "longer", "link", "gone"])
def test_a_file_that_changes_after_it_was_checked(home, change):
    model = opened(home, ("location", "w.bin"), ("length", "32"))
    if change == "longer":
        (home / "w.bin").write_bytes(DATA + b"\0")
    else:
        (home / "w.bin").rename(home / "old.bin")
    if change == "replaced":
        (home / "w.bin").write_bytes(DATA)
    if change == "link":
        (home / "w.bin").symlink_to("old.bin")
    with pytest.raises(InvalidModel, match=r"has changed|cannot be opened"):
        weight(model)


def test_tensors_of_other_models(home):
    model = opened(home, ("location", "w.bin"))
    (home / "other.bin").write_bytes(DATA)
    with pytest.raises(InvalidModel, match="was not named"):
        model.array(files.small_model(external=[("location", "other.bin")]).graph.initializer[0])


# --- writing ---


def saved(folder, threshold=0):
    """resnet20 with its weights beside it."""
    graph = cc.models.resnet20()
    model = to_model(graph)
    save_model(model, folder / "net.onnx", threshold)
    return graph, model


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_weights_beside_the_model(tmp_path):
    graph, model = saved(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "net.onnx.data"}
    found = read_model(tmp_path / "net.onnx")
    ranges = [external.range_of(tensor, "") for tensor in found.proto.graph.initializer if tensor.external_data]
    assert len(ranges) > 10
    assert {place.offset % ALIGNMENT for place in ranges} == {0}
    for before, after in zip(model.graph.initializer, found.proto.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(before), found.array(after))
    onnx.checker.check_model(str(tmp_path / "net.onnx"), full_check=True)
    whole = onnx.load(tmp_path / "net.onnx")
    for tensor in whole.graph.initializer:
        tensor.ClearField("data_location")
    assert whole.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)
    inputs = random_inputs(graph, 0)
    expected = reference.run(graph, inputs)
    for name, value in Session(graph, tmp_path / "net.onnx").run(inputs).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=1e-6)


def test_the_same_bytes_every_time(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        saved(folder)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_one_file_where_it_fits(tmp_path):
    _, model = saved(tmp_path, threshold=2**31)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert onnx.load(tmp_path / "net.onnx") == model


@needs_posix
@pytest.mark.parametrize("name", ["net.onnx", "net.onnx.data"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    """CVE-2025-51480: saving external data over a file outside the folder."""
    (tmp_path / "victim").write_bytes(b"precious")
    home = tmp_path / "home"
    home.mkdir()
    (home / name).symlink_to("../victim")
    with pytest.raises(UsageError, match="it is a link"):
        saved(home)
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert [path.name for path in home.iterdir()] == [name]


@needs_posix
def test_a_hard_link_is_replaced_not_written_through(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    os.link(tmp_path / "victim", tmp_path / "net.onnx.data")
    saved(tmp_path)
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_model_does_not_say_where_its_weights_go(tmp_path):
    (tmp_path / "home").mkdir()
    for location in ("../victim", "/tmp/victim", "w.bin"):
        with pytest.raises(InvalidModel, match="in another file"):
            save_model(files.small_model(external=[("location", location)]), tmp_path / "home" / "net.onnx", 0)
    model = files.small_model()
    inner = helper.make_graph([], "i", [], [], [files.small_model(external=[("location", "../victim")]).graph.initializer[0]])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))
    with pytest.raises(InvalidModel, match="in another file"):
        save_model(model, tmp_path / "home" / "net.onnx", 0)
    assert not any((tmp_path / "home").iterdir())


@pytest.mark.parametrize("blocked", ["net.onnx", "net.onnx.data"])
def test_both_files_or_neither(tmp_path, blocked):
    saved(tmp_path)
    other = "net.onnx" if blocked == "net.onnx.data" else "net.onnx.data"
    (tmp_path / blocked).unlink()
    (tmp_path / blocked).mkdir()
    before = (tmp_path / other).read_bytes()
    with pytest.raises(UsageError, match="not a plain file"):
        saved(tmp_path)
    assert (tmp_path / other).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "net.onnx.data"}


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path):
    """The kernel cuts the process off at a million bytes a file, as a full disk would."""
    saved(tmp_path)
    before = contents(tmp_path)
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nimport convc as cc\nfrom convc.backends.onnx.write.export import to_model\n"
        "from convc.backends.onnx.file.saving import save_model\nfrom convc.ir.errors import UsageError\n"
        "model = to_model(cc.models.resnet20(), 13)\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try: save_model(model, Path(sys.argv[1]), 0)\nexcept UsageError as error: print(error)\nelse: sys.exit('was written')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "net.onnx")], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert contents(tmp_path) == before


def test_names_that_could_not_be_read_back(tmp_path):
    with pytest.raises(UsageError, match="another name"):
        save_model(to_model(cc.models.resnet20()), tmp_path / "a:b.onnx", 0)
    assert not any(tmp_path.iterdir())
