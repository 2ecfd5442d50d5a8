"""What somebody writes who knows other tools: the refusal says how it is written here."""

from __future__ import annotations

import pytest

from convc.tests.support.shell import convc, refused

NET = """from convc import network, relu

@network(image="N,3,8,8")
def senet(image, classes=10):
    return relu(image)
"""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-O2", "export", "lenet5"), "No such option '-O'; options of a command stand after its name, as in `convc export MODEL -O2`"),
        (("summary", "net.py:senet(classes=3)"), "a network is not called; write net.py:senet --set classes=3"),
        (("summary", "lenet5()"), "a network is not called; write lenet5"),
        (("summary", "net.py:senet", "--input", "3,96,96"), "with the input's name, such as image:3,96,96"),
        (("summary", "net.py:senet", "--input", "image:4x3x96x96"), "sizes have commas between them; write 4,3,96,96"),
        (("summary", "lenet5", "--input", "image:N,28,28"), "'N,28,28' has 3 axes, and the network is written for N,1,32,32"),
        (("verify", "lenet5", "-i", "a.png", "b.png"), "'b.png' is no network; inputs are given by -i, each file by one of its own or all"),
        (("summary", "a.npz"), "as in -i 'photos/*.jpg', and weights by --weights"),
        (
            ("bench", "lenet5", "-i", "a.png"),
            "No such option '-i'; it needs no values of inputs, which `convc run` and `convc verify` take;",
        ),
        (
            ("look", "maps", "lenet5", "-i", "a.png"),
            "No such option '-i'; photographs stand behind MODEL, without it; see `convc look maps",
        ),
        (("run", "lenet5", "-i", "a.png", "b.png"), "; give each file a -i of its own, or a pattern in quotes, as in -i 'photos/*.jpg'"),
    ],
)
def test_what_is_written_otherwise_here(tmp_path, words, sentence):
    (tmp_path / "net.py").write_text(NET)
    for name in ("a.png", "b.png", "a.npz"):
        (tmp_path / name).touch()
    refused(convc(*words, cwd=tmp_path), 2, sentence)


def test_a_name_that_convc_does_not_have(tmp_path):
    (tmp_path / "net.py").write_text(NET.replace("relu", "reluu"))
    refused(convc("summary", "net.py:senet", cwd=tmp_path), 3, "net.py:1: ImportError: cannot import name 'reluu'", "did you mean 'relu'?")
