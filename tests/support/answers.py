"""What commands print with --json, held to the schema that convc ships: each answer of each test."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

import convc

__all__ = ["SCHEMA", "check_answer", "validator"]

SCHEMA = Path(convc.__file__).parent / "compiler" / "commands" / "json.schema.json"


@functools.cache
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check_answer(answer: Any) -> None:
    """Fails with the first part that the schema does not have so."""
    faults = list(validator().iter_errors(answer))
    told = [each for each in faults if each.validator != "unevaluatedProperties"]  # which all are, where one is wrong
    fault = best_match(told or faults)
    assert fault is None, f"{fault.json_path} of {answer.get('command')}: {fault.message[:500]}"
