"""What --json prints has one head and is held to one schema, whatever the command."""

from __future__ import annotations

import importlib
import json
import re

import pytest

from convc.compiler.commands.cli import COMMANDS
from convc.compiler.commands.console import JSON_SCHEMA, emit_json
from convc.compiler.commands.look import LOOKS
from convc.compiler.commands.models import command as models
from convc.ir.version import __version__
from convc.tests.support.answers import SCHEMA, check_answer
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
        (("diff", "net.cir", "net.cir"), "net.cir", {"other", "changes", "parameters"}),
        (("run", "net.cir", "-b", "reference"), "net.cir", {"outputs"}),
        (("bisect", "net.cir"), "net.cir", {"bad", "passes"}),
        (("summary", "sizes.cir", "--receptive-field"), "sizes.cir", {"layers", "totals", "sizes", "totals_at_sizes"}),
        (("plan", "net.cir", "--advise"), "net.cir", {"modules", "convs"}),
        (("compile", "net.cir", "-o", "net", "--no-check"), "net.cir", {"manifest"}),
    ],
)
def test_every_answer_has_a_head(tmp_path, words, model, own):
    """And is as the schema has it, to which every answer of every test is held."""
    (tmp_path / "net.cir").write_text(NET)
    (tmp_path / "sizes.cir").write_text(NET.replace("[N,4]", "[N,4,H,W]"))
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
    (value,) = found["nodes"][0]["values"]
    assert (value["node"], value["covers"], value["error"]) == ("y", ["y"], 0)
    assert [line["agrees"] for line in found["results"]] == [True]


def test_a_shape_is_a_list():
    networks = {each["name"]: each for each in json.loads(convc("models", "--json").out)["networks"]}
    assert networks["lenet5"]["inputs"] == [{"name": "image", "dtype": "f32", "shape": ["N", 1, 32, 32]}]


ANSWERING = {
    "models",
    "doctor",
    "summary",
    "inspect",
    "verify",
    "bisect",
    "diff",
    "run",
    "compile",
    "optimize",
    "plan",
    "tune",
    "train",
    "bench",
}


def test_the_schema_knows_every_command_that_answers_in_json():
    """`look` by its own words."""
    commands = {name: importlib.import_module(f"convc.compiler.commands.{name}").command for name in COMMANDS}
    named = {name for name, command in commands.items() if any("--json" in param.opts for param in command.params)}
    assert named == ANSWERING
    schema = json.loads(SCHEMA.read_text())
    assert set(schema["properties"]["command"]["enum"]) == named | {f"look {way}" for way in LOOKS}
    assert [each["if"]["properties"]["command"]["const"] for each in schema["allOf"]] == schema["properties"]["command"]["enum"]


# What is there only where it was asked for, or is of that kind of value; all else that the schema names is always there.
MAY_BE_ABSENT = {
    "summary": {"sizes", "totals_at_sizes"},
    "summary/layers": {"receptive_field"},
    "inspect/passes": {"bytes_moved", "declined", "estimated_seconds", "macs", "ops", "params", "rewrites", "seconds"},
    "bisect": {"passes"},
    "run": {"score"},
    "run/outputs": {"max", "mean", "min", "photographs", "top"},
    "run/outputs/top": {"name"},
    "bench": {"profiles", "same_nodes"},
}


def test_all_else_is_required():
    found: dict[str, set[str]] = {}

    def look(part, path):
        if isinstance(part, list):
            for each in part:
                look(each, path)
        if not isinstance(part, dict):
            return
        if absent := set(part.get("properties", ())) - set(part.get("required", ())):
            found["/".join(path)] = absent
        for key, value in part.items():
            named = key == "properties"
            for name, each in value.items() if named else [(None, value)]:
                look(each, [*path, name] if named else path)

    schema = json.loads(SCHEMA.read_text())
    for name, part in schema["$defs"].items():
        look(part, [name])
    assert found == MAY_BE_ABSENT


ANSWER = {"schema": 1, "convc": "0.1.0", "command": "diff", "model": "a", "other": "b", "changes": []}
SUMS = dict.fromkeys(("came", "came_values", "went", "went_values", "changed", "changed_values"), 0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"other": None}, "of diff: None is not of type 'string'"),
        ({"more": 1}, "of diff: Unevaluated properties are not allowed"),
        ({"command": "dif"}, "'dif' is not one of"),
        ({"parameters": SUMS | {"came": -1}}, "of diff: -1 is less than the minimum of 0"),
        ({"changes": [{"old": "x"}]}, "'new' is a required property"),
    ],
)
def test_the_schema_refuses(change, complaint):
    check_answer(ANSWER | {"parameters": SUMS})
    with pytest.raises(AssertionError, match=re.escape(complaint)):
        check_answer(ANSWER | {"parameters": SUMS} | change)


def test_a_command_cannot_take_a_key_of_the_head():
    with models.make_context("models", []), pytest.raises(ValueError, match="model: in the head"):
        emit_json({"model": 1})
