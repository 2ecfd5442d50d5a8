"""convc models"""

from __future__ import annotations

import click

from ..dsl.zoo_entry import ZooEntry
from .console import Console, emit_json, print_table

__all__ = ["command"]


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(console: Console, as_json: bool) -> None:
    """List the networks in the zoo."""
    if as_json:
        emit_json({"networks": [_record(name, entry) for name, entry in console.zoo.items()]})
        return
    print_table([(name, _inputs(entry), entry.source, entry.network.summary) for name, entry in console.zoo.items()])


def _record(name: str, entry: ZooEntry) -> dict[str, object]:
    inputs = [
        {"name": key, "dtype": type_.dtype, "shape": [dim if isinstance(dim, int) else str(dim) for dim in type_.shape]}
        for key, type_ in entry.network.inputs.items()
    ]
    return {"name": name, "inputs": inputs, "source": entry.source, "summary": entry.network.summary}


def _inputs(entry: ZooEntry) -> str:
    return ", ".join(f"{name}:{','.join(map(str, type_.shape))}" for name, type_ in entry.network.inputs.items())
