"""What a refusal of an unknown name ends with."""

from __future__ import annotations

import pytest

from convc.ir.suggest import did_you_mean

KNOWN = {"resnet18": 1, "resnet34": 2, "vgg16": 3}


@pytest.mark.parametrize(
    ("word", "widely", "ending"),
    [
        ("resnet1", False, "; did you mean 'resnet18'?"),
        ("resnet1", True, "; did you mean resnet18, resnet34?"),
        ("quux", False, "; known are three"),
        ("quux", True, "; known are three"),
    ],
)
def test_the_nearest_names_else_where_to_look(word, widely, ending):
    assert did_you_mean(word, KNOWN, "known are three", widely=widely) == ending


def test_nothing_is_said_where_there_is_nothing_to_say():
    assert did_you_mean("quux", KNOWN) == ""
    assert did_you_mean("quux", ()) == ""
