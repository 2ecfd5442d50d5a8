"""What --json prints has one head, whatever the command."""

from __future__ import annotations

import json

import pytest

from convc.compiler.commands.console import JSON_SCHEMA, emit_json
from convc.compiler.commands.models import command as models
from convc.ir.version import __version__
from convc.tests.support.shell import convc

NET = "graph @g(%x: f32[N,4]) {\n  %y = relu(%x)\n  return %y\n}\n"


@pytest.mark.parametrize(
    ("words", "model", "own"),
    [
        (("models",), None, {"networks"}),
        (("doctor",), None, {"found"}),
        (("summary", "net.cir"), "net.cir", {"layers", "totals"}),
        (("inspect", "net.cir"), "net.cir", {"passes"}),
        (("inspect", "net.cir", "--list-passes"), "net.cir", {"passes"}),
        (("verify", "net.cir", "-b", "reference", "--nodes"), "net.cir", {"other", "results", "nodes", "first_difference"}),
        (("verify", "net.cir", "net.cir"), "net.cir", {"other", "results", "nodes", "first_difference"}),
        (("diff", "net.cir", "net.cir"), "net.cir", {"other", "changes"}),
        (("run", "net.cir", "-b", "reference"), "net.cir", {"outputs"}),
        (("bisect", "net.cir"), "net.cir", {"bad", "passes"}),
    ],
)
def test_every_answer_has_a_head(tmp_path, words, model, own):
    (tmp_path / "net.cir").write_text(NET)
    done = convc(*words, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    head = {"schema": JSON_SCHEMA, "convc": __version__, "command": words[0], "model": model}
    assert list(found)[:4] == list(head)
    assert {key: found[key] for key in head} == head
    assert found.keys() - head.keys() == own


def test_verify_has_its_look_at_every_value(tmp_path):
    (tmp_path / "net.cir").write_text(NET)
    found = json.loads(convc("verify", "net.cir", "-b", "onnx", "--nodes", "--json", cwd=tmp_path).out)
    assert [check["agrees"] for check in found["nodes"]] == [True]
    assert "values within their local bounds" in found["nodes"][0]["text"]
    assert [line["agrees"] for line in found["results"]] == [True]


def test_a_shape_is_a_list():
    networks = {each["name"]: each for each in json.loads(convc("models", "--json").out)["networks"]}
    assert networks["lenet5"]["inputs"] == [{"name": "image", "dtype": "f32", "shape": ["N", 1, 32, 32]}]


def test_a_command_cannot_take_a_key_of_the_head():
    with models.make_context("models", []), pytest.raises(ValueError, match="model: in the head"):
        emit_json({"model": 1})
