"""What a plan's file says of photographs: what could not be said to `convc plan` is refused there too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convc.compiler.planning.plan_file import read_plan
from convc.ir.errors import InvalidInput


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("std", [0.5, 0], "a list of numbers from 1e-06 to 1"),
        ("std", 0.5, "a list of numbers from 1e-06 to 1"),
        ("mean", [127.5], "a list of numbers from 0 to 1"),
        ("mean", [True], "a list of numbers from 0 to 1"),
        ("preprocess", "torch", '"imagenet", "none" or null'),
        ("resize", 1, "true or false"),
    ],
)
def test_preparations_that_cannot_be(tmp_path: Path, key: str, value: object, expected: str):
    (tmp_path / "plan.json").write_text(json.dumps({"layers": {}, key: value}))
    with pytest.raises(InvalidInput, match=f"'{key}' is .*, expected {expected}"):
        read_plan(tmp_path / "plan.json")


def test_preparations_of_a_plan(tmp_path: Path):
    said = {"mean": [0, 0.5, 1], "std": [0.5, 1e-6, 1], "preprocess": "none", "resize": True}
    (tmp_path / "plan.json").write_text(json.dumps({"layers": {}, **said}))
    found = read_plan(tmp_path / "plan.json").inputs
    assert (found.mean, found.std, found.preprocess, found.resize, found.imagenet) == ((0, 0.5, 1), (0.5, 1e-6, 1), "none", True, False)
