"""The artifact directory: what `convc compile` writes and `convc run` takes back, every file hashed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...ir.errors import ArtifactError, InvalidModel, UsageError
from ...ir.graph import Graph
from ...ir.holding import Hold, held_folder, is_being_replaced
from ...ir.parser import parse_graph
from ...ir.progress import progress
from ..targets.fields import WrongField
from ..targets.table import TARGETS, built_of
from ..targets.target import Built
from .weights import bind_weights, load_arrays

if TYPE_CHECKING:
    from ...backends.tvm.library.built import Library

__all__ = ["MANIFEST", "SCHEMA", "Artifact", "FileRecord", "foreign_files", "manifest_of", "sealed"]

MANIFEST = "manifest.json"
SCHEMA = 4  # since 2 a library takes weights packed for its kernels; since 3 they are in a file; since 4 all that it needs is known
RANDOM, GIVEN = "random", "given"  # weights
MOMENTS, MOMENT = 100, 0.01  # looks for what is being replaced, and the seconds between them
OWN_HASH = "sha256"  # the manifest's key for the hash of all else in it, which older ones lack
CIR, ONNX, WEIGHTS, REPORT = "model.cir", "model.onnx", "weights.safetensors", "report.txt"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the manifest says of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, repr=False)
class Artifact:
    """An opened directory whose files are all as large as its manifest says; their hashes are checked as they are used.

    `target` is what was built. Nothing is known yet of the `files` of a draft. Whoever replaces the directory leaves what was opened as it
    is: files are read at `place`, and `path` is what it was called.
    """

    path: Path
    target: Built
    files: Mapping[str, FileRecord | None]
    hold: Hold | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        files = ", ".join(f"{name} {record.bytes:,}" for name, record in self.files.items() if record)
        return f"<artifact '{self.path}' for {self.target.kind}: {files or 'no files yet'}{' bytes' if files else ''}>"

    @staticmethod
    def open(path: Path) -> Artifact:
        """Raises: ArtifactError naming the first file that is missing, altered or unreadable."""
        try:
            hold = held_folder(path)
        except OSError:
            hold = None  # there is none, as the manifest will say
        place = hold.place if hold else path
        target, files = _read_manifest(path, place)
        for name, record in files.items():
            file = place / name
            if Path(name).name != name or not os.path.isfile(file):  # not even a name may be, as one that is too long
                raise ArtifactError(f"'{path}': {name} is missing; compile the network again")
            if file.stat().st_size != record.bytes:
                raise _altered(path, name)
        return Artifact(path, target, files, hold)

    @staticmethod
    def at(path: Path) -> Artifact | None:
        """The artifact there, None if there is none. Where the system cannot exchange two names at once, none is there for a moment."""
        for _ in range(MOMENTS):
            if (path / MANIFEST).is_file():
                return Artifact.open(path)
            if not is_being_replaced(path):
                break
            time.sleep(MOMENT)
        return None

    @staticmethod
    def draft(path: Path, target: Built) -> Artifact:
        """The directory as it is, without a manifest."""
        return Artifact(path, target, {file.name: None for file in path.iterdir()})

    @property
    def place(self) -> Path:
        """Where its files lie, however its name is given away."""
        return self.hold.place if self.hold else self.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """As it lies in the directory."""
        return _parsed(self.path, self.place)

    @property
    def is_drawn(self) -> bool:
        """Whether its weights were random when it was compiled, as far as its manifest says."""
        return self.manifest.get("weights") == RANDOM

    def check(self) -> Artifact:
        """Raises: ArtifactError naming the first file that has not the hash of the manifest."""
        for name in self.files:
            self.file(name)
        return self

    def file(self, name: str) -> Path:
        """Where a file lies, its hash checked unless the manifest is a draft.

        Raises: ArtifactError if it has another, or is none of the manifest's.
        """
        if name not in self.files:
            raise ArtifactError(f"'{self.path}': {MANIFEST} does not name {name}; compile the network again")
        wanted = self.files[name]
        if wanted is not None and _sha256(self.place / name) != wanted.sha256:
            raise _altered(self.path, name)
        return self.place / name

    def library(self) -> Library:
        """The compiled library, to be loaded.

        Raises: ArtifactError where there is none, or none that runs here.
        """
        if self.target.library not in self.files:
            raise ArtifactError(f"'{self.path}' holds no compiled library; compile the network again")
        return self.target.opened(self)

    @property
    def word(self) -> str:
        """Which library a run here loads and which others there are, or why none, in words."""
        libraries = [name for name in self.files if Path(name).suffix == ".so" and not Path(name).stem.endswith(".one")]
        others = ", ".join(name for name in libraries if name != self.target.library)
        try:
            library = self.library()
        except (ArtifactError, UsageError) as error:
            return f"no library of '{self.path}' runs here: {error}"
        target = TARGETS[self.target.kind]
        if why := target.why_not(library):
            return f"nothing of '{self.path}' runs here: {why}; convc run and verify emulate it with -b {target.emulated_by}"
        return f"'{self.path}': {library.path.name} is what runs here" + (f"; others are {others}" if others else "")

    @property
    def onnx(self) -> Path:
        return self.file(ONNX)

    def linked(self, name: str) -> Path | None:
        """A library that was linked by hand of the object files here, if it was: no manifest has its hash."""
        file = self.place / name
        return file if name not in self.files and file.is_file() else None

    def structure(self) -> Graph:
        """The optimized network without its weights, which nobody may look at."""
        try:
            return parse_graph(self.file(CIR).read_text(encoding="utf-8"), str(self.path / CIR))
        except (OSError, UnicodeDecodeError, InvalidModel) as error:
            raise ArtifactError(f"'{self.path}': {CIR} cannot be read: {error}") from error

    def graph(self) -> Graph:
        """The optimized network with its weights."""
        return bind_weights(self.structure(), load_arrays(self.file(WEIGHTS)), str(self.path / WEIGHTS))


def foreign_files(path: Path) -> list[str]:
    """What is in the directory and not named by a manifest of ours, of any schema: all of it where there is no such manifest."""
    names = [file.name for file in path.iterdir()]
    try:
        manifest = _parsed(path, path)
    except ArtifactError:
        return names
    files = manifest.get("files")
    if not isinstance(manifest.get("schema"), int) or not isinstance(manifest.get("target"), dict) or not isinstance(files, dict):
        return names
    ours = {MANIFEST, *cast("dict[str, Any]", files)}
    linked = {str(Path(name).with_suffix(".so")) for name in ours if Path(name).suffix == ".a"}  # by hand, as the report says how
    return [name for name in names if name not in ours | linked]


def manifest_of(directory: Path, graph: Graph, target: Built, versions: Mapping[str, str], *, drawn: bool) -> bytes:
    """The manifest of a finished directory: schema, hashes, target, versions, interface, and whether weights were `drawn` at random."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in sorted(directory.iterdir()) if file.name != MANIFEST
    }
    manifest = {
        "schema": SCHEMA,
        "network": graph.name,
        "inputs": {node.name: str(node.type) for node in graph.inputs},
        "outputs": {node.name: str(node.type) for node in graph.outputs},
        "weights": RANDOM if drawn else GIVEN,
        "target": target.record(),
        "versions": dict(versions),
        "files": files,
    }
    return sealed(manifest)


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """The text of a manifest, with its own hash."""
    return (json.dumps({**manifest, OWN_HASH: _own_hash(manifest)}, indent=2) + "\n").encode()


def _own_hash(manifest: Mapping[str, Any]) -> str:
    """Of what the manifest says, however it is laid out. It is no signature: it notices what befalls a file, not who means harm."""
    said = {key: value for key, value in manifest.items() if key != OWN_HASH}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _parsed(path: Path, place: Path) -> dict[str, Any]:
    """The manifest, of any schema, of the directory that lies at `place`; an empty one where it is no object."""
    try:
        manifest: Any = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"'{path}' has no {MANIFEST}; it is not a convc artifact") from error
    except NotADirectoryError as error:
        made = f"convc compile {path} -o {path.stem}.convc"
        raise ArtifactError(f"'{path}' is a file, and an artifact is a directory; if it is a network compile it first: {made}") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"'{path}': {MANIFEST} cannot be read: {error}") from error
    return cast("dict[str, Any]", manifest) if isinstance(manifest, dict) else {}


def _read_manifest(path: Path, place: Path) -> tuple[Built, dict[str, FileRecord]]:
    whole = _parsed(path, place)
    if whole.get("schema") != SCHEMA:
        raise ArtifactError(f"'{path}': {MANIFEST} has another schema than {SCHEMA}; compile the network again")
    files, target = whole.get("files"), whole.get("target")
    named = cast("dict[str, Any]", files) if isinstance(files, dict) else {}
    if not isinstance(target, dict) or not {CIR, ONNX, WEIGHTS, REPORT} <= named.keys():
        raise ArtifactError(f"'{path}': {MANIFEST} does not name all files and a target; compile the network again")
    if not all(isinstance(record, dict) and _is_complete(cast("dict[str, Any]", record)) for record in named.values()):
        raise ArtifactError(f"'{path}': {MANIFEST} has files without a size or a hash; compile the network again")
    try:
        built = built_of(cast("dict[str, Any]", target))
    except WrongField as error:
        raise ArtifactError(f"'{path}': the target in {MANIFEST} has no valid '{error}'; compile the network again") from error
    if OWN_HASH in whole and whole[OWN_HASH] != _own_hash(whole):
        raise _altered(path, MANIFEST)
    return built, {name: FileRecord(record["bytes"], record["sha256"]) for name, record in named.items()}


def _is_complete(record: Mapping[str, Any]) -> bool:
    return type(record.get("bytes")) is int and isinstance(record.get("sha256"), str)


def _altered(path: Path, name: str) -> ArtifactError:
    return ArtifactError(f"'{path}': {name} was altered after it was written; compile the network again")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream, progress(f"checking {file.name}", file.stat().st_size) as advance:
        while block := stream.read(1 << 20):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()
