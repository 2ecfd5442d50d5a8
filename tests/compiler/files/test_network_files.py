"""A network in somebody's Python file is what the file says when it is asked for."""

from __future__ import annotations

import os
import sys

from convc.compiler.files.model import Request, load

NET = """from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
from convc import network, relu, tanh

@network(image="N,3,8,8")
def net(image):
    return relu(image)
"""
DATACLASS = """
@dataclass
class Width:
    channels: int = len(Path(__file__).stem)
"""


def last_op(file):
    return load(Request(f"{file}:net"), {}).outputs[0].kind.name


def test_an_edit_within_the_second_and_of_the_same_length_is_seen(tmp_path, monkeypatch):
    """Python's own cache of bytecode takes such a file for the one before."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "net.py"
    file.write_text(NET)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert last_op(file) == "relu"
    file.write_text(NET.replace("relu(image)", "tanh(image)"))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert last_op(file) == "tanh"


def test_a_file_with_dataclasses_whose_annotations_are_texts_and_with_its_own_name(tmp_path):
    (tmp_path / "net.py").write_text(NET + DATACLASS)
    assert last_op(tmp_path / "net.py") == "relu"
