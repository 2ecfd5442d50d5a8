"""Every public name says what it is."""

from __future__ import annotations

import inspect

import pytest

import convc as cc


@pytest.mark.parametrize("name", [name for name in cc.__all__ if not inspect.ismodule(getattr(cc, name))])
def test_it_has_a_docstring(name):
    said = inspect.getdoc(getattr(cc, name))
    assert said
    assert said.split("\n")[0].rstrip().endswith((".", ":", ",")) or "\n" in said
