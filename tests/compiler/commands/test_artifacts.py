"""Artifact directories: what is missing, altered or somebody else's is named, and nothing of it is used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convc.compiler.files.artifact import sealed
from convc.tests.support.shell import convc, refused


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact") / "net"
    done = convc("compile", "mlp", "-o", path, "--no-check")
    assert done.code == 0, done.err
    assert "note: the weights of @mlp are random; give --weights FILE" in done.err
    return path


def test_an_artifact_of_random_weights_says_so(original):
    done = convc("run", original)
    note = "note: the weights and inputs of @mlp are random, and so is what it says; give convc compile --weights FILE and -i FILE"
    assert (done.code, done.err.splitlines()) == (0, [note])


class TestArtifacts:
    @pytest.fixture
    def bundle(self, original, tmp_path):
        return Path(shutil.copytree(original, tmp_path / "net"))

    @pytest.mark.parametrize("name", ["model.cir", "model.onnx", "model.so", "weights.safetensors", "report.txt"])
    def test_missing_and_altered_files_are_named(self, bundle, name):
        with (bundle / name).open("ab") as file:
            file.write(b"\n")
        refused(convc("run", bundle), 3, f"{name} was altered after it was written")
        (bundle / name).unlink()
        refused(convc("run", bundle), 3, f"{name} is missing")

    @pytest.mark.parametrize(
        ("name", "backend"),
        [
            ("model.so", "tvm"),
            ("model.one.so", "tvm"),
            ("weights.packed", "tvm"),
            ("model.cir", "reference"),
            ("weights.safetensors", "reference"),
            ("model.onnx", "onnx"),
        ],
    )
    def test_a_byte_that_changed_where_it_is_read(self, bundle, name, backend):
        content = bytearray((bundle / name).read_bytes())
        content[-1] ^= 1
        (bundle / name).write_bytes(content)
        refused(convc("run", bundle, "--backend", backend), 3, f"{name} was altered after it was written")

    def test_it_runs_without_what_compiles(self, bundle):
        heavy = (
            "('tvm', 'onnx', 'onnxruntime', 'networkx', 'rich', 'PIL', 'convc.backends.tvm.cpu.plan', 'convc.backends.tvm.library.fixed')"
        )
        code = f"import sys\nfrom convc.__main__ import main\nsys.argv = ['convc', 'run', {str(bundle)!r}]\ntry: main()\n"
        code += f"finally: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "class" in done.stdout
        assert done.stderr.splitlines()[-1] == "[]"

    def test_a_library_that_the_manifest_does_not_name_is_left_alone(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        del manifest["files"]["model.one.so"]
        (bundle / "manifest.json").write_bytes(sealed(manifest))
        (bundle / "model.one.so").write_text("not a library")
        assert convc("run", bundle).code == 0

    def test_verify_reads_all_files(self, bundle):
        report = bundle / "report.txt"
        report.write_bytes(report.read_bytes()[:-1] + b"!")
        refused(convc("verify", bundle), 3, "report.txt was altered after it was written")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("kind", "tpu"),
            ("kind", ["cpu"]),
            ("library", []),
            ("library", None),
            ("needs", 5),
            ("needs", [5]),
            ("needs", None),
            ("tiles", ["conv1"]),
            ("tiles", {"conv1": 3}),
            ("packed", None),
            ("packed", {}),
            ("packed", {"layout": 1, "bytes": 2, "entries": []}),
            ("packed", {"layout": "", "bytes": 64, "entries": {}}),
            ("packed", {"layout": "", "bytes": 128, "entries": [["w", 5, 64]]}),
            ("packed", {"layout": "", "bytes": 128, "entries": [["w", "f32[4]", 64.0]]}),
            ("packed", {"layout": "", "bytes": 128, "entries": [["w", "f32[4]"]]}),
        ],
    )
    def test_a_target_that_nobody_wrote(self, bundle, field, value):
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["target"][field] = value
        (bundle / "manifest.json").write_bytes(sealed(manifest))
        refused(convc("run", bundle), 3, f"the target in manifest.json has no valid '{field}'; compile the network again")

    @pytest.mark.parametrize(
        ("type_", "offset"),
        [
            ("f32[what", 64),
            ("f32[N]", 64),
            ("f33[4]", 64),
            ("f32[4]", -64),
            ("f32[4]", 0),
            ("f32[4]", 120),
            ("opaque[]", 64),
            ("i4[3]", 64),
        ],
    )
    def test_weights_that_lie_nowhere(self, bundle, type_, offset):
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["target"]["packed"] = {"layout": "", "bytes": 128, "entries": [["w", type_, offset]]}
        (bundle / "manifest.json").write_bytes(sealed(manifest))
        refused(convc("run", bundle), 3, "the manifest does not say where weights lie; compile the network again")

    def test_an_altered_manifest(self, bundle):
        """One that could be true, and would have instructions run that are not here; how it is laid out is nobody's affair."""
        manifest = json.loads((bundle / "manifest.json").read_text())
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        assert convc("inspect", bundle).code == 0
        manifest["target"]["needs"] = []
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        refused(convc("run", bundle), 3, "manifest.json was altered after it was written; compile the network again")
        del manifest["sha256"]  # as an older one
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        assert convc("inspect", bundle).code == 0

    def test_a_manifest_without_the_hash_of_a_file(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["files"]["model.so"]["sha256"] = None
        (bundle / "manifest.json").write_bytes(sealed(manifest))
        refused(convc("run", bundle), 3, "manifest.json has files without a size or a hash; compile the network again")

    def test_a_manifest_that_does_not_name_the_weights(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        del manifest["files"]["weights.packed"]
        (bundle / "manifest.json").write_bytes(sealed(manifest))
        refused(convc("run", bundle), 3, "manifest.json does not name weights.packed; compile the network again")

    def test_an_artifact_of_an_older_schema_gives_way_to_a_new_one(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        (bundle / "manifest.json").write_bytes(sealed({**manifest, "schema": 3}))
        refused(convc("run", bundle), 3, "has another schema than 4; compile the network again")
        assert convc("compile", "mlp", "-o", bundle, "--no-check").code == 0
        assert convc("run", bundle).code == 0

    def test_a_truncated_file(self, bundle):
        os.truncate(bundle / "weights.safetensors", 100)
        refused(convc("verify", bundle), 3, "weights.safetensors was altered")

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{", '{"schema": 2}', '{"schema": 1, "files": {}}', '{"schema": 1, "target": {"kind": "cpu"}, "files": {"../x": 1}}'],
    )
    def test_a_wrong_manifest(self, bundle, text):
        (bundle / "manifest.json").write_text(text)
        refused(convc("run", bundle), 3, "manifest.json")

    def test_a_file_outside_the_directory_is_never_opened(self, bundle):
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["files"]["../report.txt"] = manifest["files"]["report.txt"]
        (bundle / "manifest.json").write_bytes(sealed(manifest))
        (bundle.parent / "report.txt").write_bytes((bundle / "report.txt").read_bytes())
        refused(convc("run", bundle), 3, "../report.txt is missing")


def test_an_artifact_agrees_with_the_network_it_came_from(tmp_path):
    assert convc("compile", "resnet20", "-o", tmp_path / "net", "--no-check").code == 0
    done = convc("verify", tmp_path / "net", "resnet20")
    assert done.code == 0, done.err


def test_somebody_elses_directory_is_never_replaced(tmp_path, original):
    site = tmp_path / "site"
    site.mkdir()
    (site / "manifest.json").write_text('{"name": "my web app"}')
    (site / "app.js").write_text("mine")
    refused(convc("compile", "shared", "-o", site), 2, "holds what convc did not write there (app.js, manifest.json); choose another")
    assert (site / "app.js").read_text() == "mine"
    bundle = Path(shutil.copytree(original, tmp_path / "net"))
    (bundle / "notes.txt").write_text("mine too")
    refused(convc("compile", "shared", "-o", bundle), 2, "holds what convc did not write there (notes.txt); choose another")
    for name in ("a", "b", "c", "d"):
        (bundle / name).touch()
    refused(convc("compile", "shared", "-o", bundle), 2, "(a, b, c and 2 more)")
    for name in ("a", "b", "c", "d"):
        (bundle / name).unlink()
    assert (bundle / "notes.txt").read_text() == "mine too"
    (bundle / "notes.txt").unlink()
    (tmp_path / "link").symlink_to("net")
    assert convc("compile", "shared", "-o", tmp_path / "link", "--no-check").code == 0
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "net", "site"]


@pytest.mark.parametrize("command", ["run", "verify"])
def test_an_artifact_takes_no_other_weights(original, tmp_path, command):
    weights = tmp_path / "w.safetensors"
    shutil.copy(original / "weights.safetensors", weights)
    refused(convc(command, original, "--weights", weights), 2, "carries its own weights")


def test_an_artifact_for_another_processor_is_refused_before_it_is_loaded(tmp_path):
    made = convc("compile", "lenet5", "-o", str(tmp_path / "b"), "--no-check")
    assert made.code == 0, made.err
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    manifest["target"]["needs"].append("sve9")
    (tmp_path / "b" / "manifest.json").write_bytes(sealed(manifest))
    done = convc("verify", str(tmp_path / "b"), "--backends", "tvm")
    assert done.code == 3
    assert "was compiled for a processor with sve9; compile the network again on this one" in done.err
