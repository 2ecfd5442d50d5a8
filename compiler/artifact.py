"""The artifact directory: what `convc compile` writes and `convc run` takes back, every file hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..ir.errors import ArtifactError, InvalidModel
from ..ir.graph import Graph
from ..ir.parser import parse_graph
from .weights import bind_weights, load_arrays

__all__ = ["MANIFEST", "SCHEMA", "Artifact", "is_artifact", "manifest_of"]

MANIFEST = "manifest.json"
SCHEMA = 2  # 1: weights as they are; since 2 a library takes them packed for its kernels
CIR, ONNX, WEIGHTS, REPORT = "model.cir", "model.onnx", "weights.safetensors", "report.txt"


@dataclass(frozen=True)
class Artifact:
    """An opened directory whose files all have the hashes that its manifest says."""

    path: Path
    manifest: Mapping[str, Any]

    @staticmethod
    def open(path: Path) -> Artifact:
        """Raises: ArtifactError naming the first file that is missing, altered or unreadable."""
        manifest = _read_manifest(path)
        for name, record in manifest["files"].items():
            file = path / name
            if Path(name).name != name or not file.is_file():
                raise ArtifactError(f"'{path}': {name} is missing; compile the network again")
            if _sha256(file) != record["sha256"]:
                raise ArtifactError(f"'{path}': {name} was altered after it was written; compile the network again")
        return Artifact(path, manifest)

    @property
    def target(self) -> str:
        return str(self.manifest["target"]["kind"])

    @property
    def library(self) -> Path | None:
        """The compiled library, where this artifact has one."""
        name = self.manifest["target"].get("library")
        return self.path / name if name in self.manifest["files"] else None

    @property
    def onnx(self) -> Path:
        return self.path / ONNX

    def graph(self) -> Graph:
        """The optimized network with its weights."""
        try:
            graph = parse_graph((self.path / CIR).read_text(encoding="utf-8"), str(self.path / CIR))
        except (OSError, UnicodeDecodeError, InvalidModel) as error:
            raise ArtifactError(f"'{self.path}': {CIR} cannot be read: {error}") from error
        return bind_weights(graph, load_arrays(self.path / WEIGHTS), str(self.path / WEIGHTS))


def is_artifact(path: Path) -> bool:
    """Whether every file in the directory is named by a manifest of ours, so that nothing of anybody else's is in it."""
    try:
        manifest = _read_manifest(path)
    except ArtifactError:
        return False
    return {file.name for file in path.iterdir()} <= {MANIFEST, *manifest["files"]}


def manifest_of(directory: Path, graph: Graph, target: Mapping[str, Any], versions: Mapping[str, str]) -> bytes:
    """The manifest of a finished directory: schema, hashes, target, versions, interface."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in sorted(directory.iterdir()) if file.name != MANIFEST
    }
    manifest = {
        "schema": SCHEMA,
        "network": graph.name,
        "inputs": {node.name: str(node.type) for node in graph.inputs},
        "outputs": {node.name: str(node.type) for node in graph.outputs},
        "target": dict(target),
        "versions": dict(versions),
        "files": files,
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: Any = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"'{path}' has no {MANIFEST}; it is not a convc artifact") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"'{path}': {MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or cast("dict[str, Any]", manifest).get("schema") != SCHEMA:
        raise ArtifactError(f"'{path}': {MANIFEST} has another schema than {SCHEMA}; compile the network again")
    whole = cast("dict[str, Any]", manifest)
    files, target = whole.get("files"), whole.get("target")
    named = cast("dict[str, Any]", files) if isinstance(files, dict) else {}
    if not isinstance(target, dict) or "kind" not in target or not {CIR, ONNX, WEIGHTS, REPORT} <= set(named):
        raise ArtifactError(f"'{path}': {MANIFEST} does not name all files and a target; compile the network again")
    if not all(isinstance(record, dict) and "sha256" in record for record in named.values()):
        raise ArtifactError(f"'{path}': {MANIFEST} has files without a hash; compile the network again")
    return whole


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
