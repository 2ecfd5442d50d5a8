"""convc models"""

from __future__ import annotations

import click

from ..network import ZooEntry
from .options import Desk, emit_json

__all__ = ["command"]


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(desk: Desk, as_json: bool) -> None:
    """List the networks in the zoo."""
    if as_json:
        emit_json([_record(name, entry) for name, entry in desk.zoo.items()])
        return
    rows = [(name, _inputs(entry), entry.source) for name, entry in desk.zoo.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, entry in zip(rows, desk.zoo.values(), strict=True):
        padded = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo(f"{padded}  {entry.network.summary}".rstrip())


def _record(name: str, entry: ZooEntry) -> dict[str, object]:
    inputs = {key: str(type_) for key, type_ in entry.network.inputs.items()}
    return {"name": name, "inputs": inputs, "source": entry.source, "summary": entry.network.summary}


def _inputs(entry: ZooEntry) -> str:
    return ", ".join(f"{name}:{','.join(map(str, type_.shape))}" for name, type_ in entry.network.inputs.items())
