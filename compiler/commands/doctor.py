"""convc doctor"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import click

from ...ir.errors import BackendMissing, UsageError
from ...ir.ops import OPS
from ...ir.suggest import not_there
from ...ir.version import __version__
from ..engines.table import ENGINES
from ..files.artifact import Artifact
from ..targets.table import TARGETS
from .console import Console, echo, emit_json, print_table

__all__ = ["command"]


@click.command("doctor")
@click.argument("artifact", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--c-flags", is_flag=True, help="Only what a C compiler needs to build an artifact's convc.c here.")
@click.pass_obj
def command(console: Console, artifact: Path | None, as_json: bool, c_flags: bool) -> None:
    """Say what this machine can do, and which library of ARTIFACT it would load. Exits with 5 if a backend is missing."""
    if c_flags:
        from ...backends.tvm.library import c_interface

        echo(" ".join(c_interface.c_flags()))
        return
    found = {
        "convc": f"{__version__}, {len(OPS)} ops, {len(console.zoo)} networks",
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "threads": f"{os.cpu_count()} logical processors",
        **{name: _try(engine.word) for name, engine in ENGINES.items()},
        **{name: _try(target.word) for name, target in TARGETS.items() if target.word},
        "kernel cache": _cache(),
        **({"artifact": _loaded(artifact)} if artifact is not None else {}),
        "c compiler": shutil.which("cc") or shutil.which("gcc") or "missing: TVM links libraries with it; install gcc or clang",
    }
    if as_json:
        emit_json({"found": found})
    else:
        print_table(list(found.items()))
    missing = [name for name in ENGINES if found[name].startswith("missing")]
    if missing:
        raise BackendMissing(f"{' and '.join(missing)} cannot run here")


def _try(look: Callable[[], str]) -> str:
    try:
        return look()
    except (BackendMissing, PackageNotFoundError) as error:
        return f"missing: {error}"


def _loaded(path: Path) -> str:
    """Raises: UsageError where nothing is there; ArtifactError for what is no artifact."""
    if not path.exists():
        raise UsageError(not_there(path, "artifact"))
    return Artifact.open(path).word


def _cache() -> str:
    from ...backends.tvm.store.cache import KINDS, find_cache

    cache = find_cache()
    if cache is None:
        return "off"
    if cache.folder.exists() and (obstacle := cache.obstacle()):
        return f"not used: {obstacle}"
    entries, size = cache.size()
    held = f"{entries:,} entries, {size / 2**20:.1f} of {cache.most >> 20} MiB"
    *most, last = (f"{kind}_*" for kind in KINDS)
    if cache.folder.exists() and cache.is_read_only:
        return f"{cache.folder}: {held}, and it cannot be written: what is not there is compiled each time"
    return f"{cache.folder}: {held}; delete {', '.join(most)} and {last} there to empty it"
