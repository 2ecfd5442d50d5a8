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
    ],
)
def test_what_is_written_otherwise_here(tmp_path, words, sentence):
    (tmp_path / "net.py").write_text(NET)
    refused(convc(*words, cwd=tmp_path), 2, sentence)


def test_a_name_that_convc_does_not_have(tmp_path):
    (tmp_path / "net.py").write_text(NET.replace("relu", "reluu"))
    refused(convc("summary", "net.py:senet", cwd=tmp_path), 3, "net.py:1: ImportError: cannot import name 'reluu'", "did you mean 'relu'?")
