"""Mutated ONNX files: real ones, with bytes or protobuf fields changed. Everything is drawn from one `random.Random`."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto
from onnx.backend.test.case.node import collect_testcases

from convc.backends.onnx.write.export import to_model
from convc.ir.errors import ConvcError
from convc.tests.fuzz.random_networks import random_network
from convc.tests.support import places

LARGEST = 60_000  # bytes of a file to start from
LARGEST_CASE = 6_000
RANDOM_NETS = 150
FEW = 10
DATA = "w.bin"  # where external data lie
INTS = (-1, 0, 1, 2, 3, 4, 7, 8, 9, 17, 255, 1000, 65536, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**31), -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e38, -1e38, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "",
    "x",
    "y",
    "N",
    "a\x1b[31m",
    "a\nb",
    "é",
    "\u202e",
    "n" * 3000,
    "../x",
    "/etc/passwd",
    DATA,
    "0",
    "-1",
    "99999999999999999999",
    "NOTSET",
    "SAME_UPPER",
)
ENTRIES = ("location", "offset", "length", "checksum", "basepath")
VALUES = (DATA, f"./{DATA}", f"../{DATA}", "/dev/zero", "link.bin", "pipe", "", "0", "4", "64", "-4", "0" * 40, "9" * 19, "9" * 99, "1e3")


@dataclass(frozen=True)
class Mutant:
    """A model file, and what lies in DATA beside it."""

    model: bytes
    data: bytes = b""


def seeds(few: bool = False) -> list[bytes]:
    """Small real files: ONNX's own cases and models, PyTorch's exports, and convc's exports of random networks; or a few of the last."""
    if few:
        return _exported(FEW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases compute NaN on purpose
        found = [case.model.SerializeToString() for case in collect_testcases(None)]
    found = [data for data in found if len(data) <= LARGEST_CASE]
    for folder in (Path(onnx.__file__).parent / "backend" / "test" / "data", places.DATA):
        found += [path.read_bytes() for path in sorted(folder.rglob("*.onnx")) if path.stat().st_size <= LARGEST]
    return found + _exported(RANDOM_NETS) * 4  # each more often than each of the 1,800 cases


def _exported(count: int) -> list[bytes]:
    """convc's own files."""
    found: list[bytes] = []
    for number in range(count):
        try:
            found.append(to_model(random_network(number)).SerializeToString())
        except ConvcError:  # what ONNX cannot say
            continue
    return [data for data in found if len(data) <= LARGEST]


def mutant(draw: random.Random, files: list[bytes]) -> Mutant:
    """One file, changed a few times; now and then its bytes too."""
    base = draw.choice(files)
    if draw.random() < 0.25:
        return Mutant(_changed_bytes(draw, base, draw.choice(files)))
    model = ModelProto.FromString(base)
    data = _externalized(draw, model) if draw.random() < 0.2 else b""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        _change_field(draw, model)
    changed = model.SerializeToString()
    return Mutant(_changed_bytes(draw, changed, base) if draw.random() < 0.1 else changed, data)


def _changed_bytes(draw: random.Random, base: bytes, other: bytes) -> bytes:
    data = bytearray(base)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        at, size = draw.randrange(len(data)), draw.choice((1, 1, 2, 4, 8, 64))
        match draw.randrange(7):
            case 0:
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                data[at] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
            case 2:
                data[at:at] = draw.randbytes(size)
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = data[at : at + size * 8]
            case 5:
                start = draw.randrange(len(other))
                data[at : at + size] = other[start : start + size * 4]
            case _:
                if draw.random() < 0.3:
                    del data[at:]
    return bytes(data)


def _externalized(draw: random.Random, model: ModelProto) -> bytes:
    """Move weights out of the model, and say where they are: mostly the truth."""
    data = bytearray()
    for tensor in model.graph.initializer:
        raw = tensor.raw_data
        if not raw or draw.random() < 0.3:
            continue
        entries = {"location": DATA, "offset": str(len(data)), "length": str(len(raw))}
        data += raw
        if draw.random() < 0.1:
            entries[draw.choice(ENTRIES)] = draw.choice(VALUES)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    return bytes(data[: draw.randrange(len(data))]) if data and draw.random() < 0.05 else bytes(data)


def _change_field(draw: random.Random, model: ModelProto) -> None:
    """One field of one message, wherever it is; text from elsewhere in the model, so that names keep meaning something."""
    messages, texts = [], list(TEXTS)
    todo = [model]
    while todo:
        message = todo.pop()
        messages.append(message)
        for field, value in message.ListFields():
            if field.message_type is not None:
                todo += value if hasattr(value, "append") else [value]
            elif field.type == field.TYPE_STRING:
                texts += value if hasattr(value, "append") else [value]
    message = draw.choice(messages)
    present = [field for field, _ in message.ListFields()]
    field = draw.choice(present if present and draw.random() < 0.8 else message.DESCRIPTOR.fields)
    try:
        if hasattr(getattr(message, field.name), "append"):
            _change_list(draw, message, field, texts, messages)
        else:
            _change_value(draw, message, field, texts)
    except (ValueError, TypeError, OverflowError):  # protobuf refuses to hold it, so no file does
        message.ClearField(field.name)


def _change_value(draw, message, field, texts) -> None:
    if field.message_type is not None:
        if message.HasField(field.name) and draw.random() < 0.7:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    elif draw.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(draw, field, getattr(message, field.name), texts))


def _change_list(draw, message, field, texts, messages) -> None:
    """Drop, double, swap, shuffle, change or add items; or take those of another message of the kind."""
    items = list(getattr(message, field.name))
    at = draw.randrange(len(items)) if items else 0
    kind = draw.randrange(7)
    if kind == 0 and items:
        del items[at]
    elif kind == 1 and items:
        items[at:at] = items[at : at + 1] * draw.choice((1, 1, 1, 8, 300))
    elif kind == 2 and items:
        other = draw.randrange(len(items))
        items[at], items[other] = items[other], items[at]
    elif kind == 3:
        draw.shuffle(items)
    elif kind == 4:
        others = [other for other in messages if other.DESCRIPTOR is message.DESCRIPTOR]
        items += getattr(draw.choice(others), field.name)
    elif field.message_type is not None:
        getattr(message, field.name).add()
        return
    elif kind == 5 and items:
        items[at] = _value(draw, field, items[at], texts)
    else:
        items += [_value(draw, field, _zero(field), texts) for _ in range(draw.choice((1, 1, 2, 9)))]
    if field.message_type is not None:
        items = [type(item).FromString(item.SerializeToString()) for item in items]  # what is cleared below is theirs
    message.ClearField(field.name)
    getattr(message, field.name).extend(items)


def _zero(field):
    return {field.TYPE_STRING: "", field.TYPE_BYTES: b"", field.TYPE_FLOAT: 0.0, field.TYPE_DOUBLE: 0.0}.get(field.type, 0)


def _value(draw, field, old, texts):
    if isinstance(old, bytes):
        return draw.choice((b"", old[:-1], old + b"\0", old + old, old[: len(old) // 2], draw.randbytes(len(old)), draw.randbytes(8)))
    if isinstance(old, str):
        return draw.choice(texts)
    if isinstance(old, float):
        return draw.choice((*FLOATS, old * 2, -old, draw.gauss(0, 10)))
    if field.enum_type is not None:
        return draw.choice([value.number for value in field.enum_type.values])
    return draw.choice((*INTS, *(old + step for step in (-2, -1, 1, 2)), old * 2, -old, draw.randrange(32), draw.randrange(1, 8)))
