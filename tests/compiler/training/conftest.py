"""What several files of tests learn from."""

import dataclasses

import pytest

from convc.compiler.training.pictures import read_pictures
from convc.ir.types import TensorType


@pytest.fixture(scope="module")
def digits():
    found = read_pictures("digits", TensorType("f32", ("N", 1, 8, 8)), 10)
    return dataclasses.replace(found, pixels=found.pixels[:160], labels=found.labels[:160])
