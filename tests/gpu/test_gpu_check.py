"""What checks a GPU, tried where there is none."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.cuda.emulator.kernels import Kernels, Launch
from convc.backends.tvm.cuda.emulator.machine import machine
from convc.backends.tvm.cuda.plan import gpu_plan
from convc.backends.tvm.gpus.architectures import ARCHITECTURES
from convc.backends.tvm.gpus.driver import Gpu
from convc.backends.tvm.library.built import Library, MachineCode
from convc.ir.binding import specialize
from convc.tests.gpu import check, prepare
from convc.tests.gpu.peaks import KERNEL, ORDINARY, PEAKS, THREADS, TINY, Peak, write_peak_kernels
from convc.tests.gpu.prepare import planned
from convc.tests.gpu.results import Results, Timed, no_gpu
from convc.tests.gpu.rooflines import kernel_shares
from convc.tests.gpu.stored import Case, cases
from convc.tests.support.apart import Apart
from convc.tests.support.graphs import typed_graph
from convc.tests.support.machine_code import compiled, needs_nvcc

NET = """graph @net(%x: f32[N,16,8,8]) {
    %w = param : f16[16,16,3,3]
    %v = param : f16[10,1024]
    %h = cast(%x) {to=f16}
    %a = conv2d(%h, %w) {pads=[1,1,1,1]}
    %f = flatten(%a)
    %s = dense(%f, %v)
    %y = cast(%s) {to=f32}
    return %y
}"""


def test_kernels_are_matched_with_the_plan_and_held_to_their_rooflines() -> None:
    """A sum in parts is two kernels and one line; what no call of the plan has launched is a line by itself."""
    plan = gpu_plan(specialize(typed_graph(NET), {"N": 8}))
    names = ["enter0", "other", "conv1", "conv2", "parts_added3", "leave4"]
    times = [(name, [9.0, float(i), float(i)]) for i, name in enumerate(names, start=1)]
    enter, other, conv, dense, leave = kernel_shares(plan, times, macs=1e9, nbytes=1e9, ordinary=1e6)
    assert (other.kernel, other.nodes, other.least) == ("other", "", 0.0)
    assert (conv.nodes, conv.milliseconds) == ("a", 3.0)
    assert conv.least == pytest.approx(1e3 * 8 * 16 * 16 * 9 * 64 / 1e9)
    assert dense.milliseconds == 4.0 + 5.0
    assert enter.least == pytest.approx(1e3 * (8 * 16 * 64 * (4 + 2)) / 1e9)
    assert leave.nodes == "y"
    with pytest.raises(ValueError, match=r"^no kernel was seen for conv of a$"):
        kernel_shares(plan, times[:1], 1e9, 1e9, 1e6)


def test_what_ordinary_units_multiply_is_held_to_their_peak() -> None:
    plan = gpu_plan(specialize(typed_graph(NET), {"N": 1}))
    _, conv, scores, _ = kernel_shares(plan, [(name, [1.0]) for name in ("enter0", "conv1", "matvec2", "leave3")], 1e9, 1e12, 1e6)
    assert (conv.kernel, conv.least) == ("conv", pytest.approx(1e3 * 16 * 16 * 9 * 64 / 1e9))
    assert (scores.kernel, scores.nodes, scores.least) == ("matvec", "f s", pytest.approx(1e3 * 10 * 1024 / 1e6))


def test_a_table_says_what_was_measured() -> None:
    plan = gpu_plan(specialize(typed_graph(NET), {"N": 1}))
    shares = kernel_shares(plan, [(name, [2.0]) for name in ("enter0", "conv1", "matvec2", "leave3")], 1e9, 1e9, 1e9)
    results = Results(
        ["an H200"],
        4.2e12,
        3e14,
        ["net fp16"],
        ["mlp fp16: y DIFFERS"],
        [Timed("net", "fp16", 32, [4.0, 3.0, 5.0], {"eager": [8.0]}, shares)],
    )
    results.instruction, results.ordinary = "wgmma", 2.5e13
    text = results.text()
    assert "4.20 TB/s copied, read and written; 600 TFLOP/s of wgmma" in text
    assert "50 TFLOP/s of float32 by ordinary units." in text
    assert "1 networks agree with float64; 1 things differ or failed." in text
    assert "| net | fp16 | 32 | 4.000 | 8,000 |" in text
    assert "| 8.000 | - |" in text
    assert "| 2000.0 | 147.5 | 7% | conv | a |" in text


@pytest.mark.parametrize("peak", PEAKS, ids=lambda peak: peak.instruction)
def test_kernels_that_find_peaks_do_what_is_counted(peak: Peak) -> None:
    out, device = np.full(2 * THREADS, np.nan, np.float32), machine()
    device.counters()
    (got,) = Kernels(peak.text).run(Launch(KERNEL, (2, 1, 1), (THREADS, 1, 1)), [out, np.int32(3)])
    assert np.isfinite(got).all()
    assert device.counters()["mma_macs"] == 2 * 3 * peak.macs


def test_the_kernel_of_ordinary_units_multiplies_and_adds_in_turns() -> None:
    (got,) = Kernels(ORDINARY.text).run(Launch(KERNEL, (1, 1, 1), (THREADS, 1, 1)), [np.full(THREADS, np.nan, np.float32), np.int32(2)])
    added = np.arange(THREADS) * 1e-3
    sums = sum((j / 3 + added) / 3 + added for j in range(ORDINARY.macs // THREADS))
    np.testing.assert_allclose(got, sums, rtol=1e-5)


@needs_nvcc
@pytest.mark.parametrize(("arch", "instruction"), [("sm_90", "HMMA"), ("sm_90a", "HGMMA")])
def test_each_architecture_has_a_peak_of_its_own(arch: str, instruction: str, tmp_path: Path) -> None:
    write_peak_kernels(tmp_path, ARCHITECTURES[arch])
    source, other = sorted(tmp_path.glob("*.cu"), key=lambda file: file.stem == ORDINARY.instruction)
    assert all(each.with_suffix(".cubin").read_bytes().startswith(b"\x7fELF") for each in (source, other))
    (code,) = compiled(source.read_text(), tmp_path, arch).values()
    assert code.counts[instruction] > 0
    assert (code.stack, code.spilled) == (0, 0)


def test_the_script_takes_no_package_but_those_of_convc() -> None:
    """On the machine with the GPU there is what the wheels bring, and no pytest."""
    without = "import sys; sys.modules.update(dict.fromkeys(['pytest', 'hypothesis', 'scipy', 'jsonschema', 'matplotlib', 'xdist']))"
    subprocess.run([sys.executable, "-c", f"{without}; import convc.tests.gpu.check"], check=True)


def test_without_a_gpu_the_file_says_so(tmp_path: Path) -> None:
    prepared = [Case("lenet5", "fp16", (2,), False, tmp_path), Case("resnet18", "bf16", (1, 32), True, tmp_path)]
    text = no_gpu("the driver is not installed", prepared, planned(tmp_path, ("lenet5", "mlp"), ("resnet18",), (1, 32)), tmp_path)
    assert "**No GPU was there: the driver is not installed. Nothing was measured: " in text
    assert "- 2 networks, small, in fp32 and fp16, with inputs and float64 outputs; 1 of 4 lay there as this was written" in text
    assert "- to time, in full: resnet18, in fp16 and bf16, for batches of 1 and 32; 1 of 2 lay there" in text
    output = tmp_path / "RESULTS.md"
    assert check.main([str(tmp_path), "-o", str(output)]) == 5
    assert "No GPU was there: no CUDA device is here: NVIDIA's driver (libcuda.so.1) is not installed." in output.read_text()
    assert "; 0 of 8 lay there" in output.read_text()


def test_a_folder_that_is_not_there_is_named_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "RESULTS.md"
    assert check.main([str(tmp_path / "nowhere"), "-o", str(output)]) == 3
    assert f"{tmp_path / 'nowhere'} is not there; make gpu-prepare makes it" in capsys.readouterr().err
    assert not output.exists()


def test_the_file_in_the_repository_says_what_is_prepared_today() -> None:
    """All but how much of it lay there; of a GPU's figures nothing is held here."""
    written, counts = check.RESULTS.read_text(encoding="utf-8"), re.compile(r"; \d+ of")
    if "No GPU was there" in written:
        why = written.partition("No GPU was there: ")[2].partition(". Nothing")[0]
        folder = Path("build/gpu")
        assert counts.sub("", written) == counts.sub("", no_gpu(why, [], planned(folder), folder))


def _case(folder: Path, name: str, *, is_timed: bool) -> None:
    """A case as prepare leaves it, without its artifact."""
    (folder / name).mkdir()
    record = {"network": name, "precision": "fp16", "batches": [1], "is_timed": is_timed}
    (folder / name / "case.json").write_text(json.dumps(record), encoding="utf-8")


def _run(seconds: float, folder: Path) -> Results:
    """All steps in this process."""
    results = Results([], 1.0, 1.0)
    for step in check._Check.within(folder, TINY, seconds).steps():
        try:
            step.run(results)
        except Exception as error:
            check._failed(results, step.name, f"{type(error).__name__}: {error}")
    return results


def test_what_was_not_checked_is_no_success(tmp_path: Path) -> None:
    """No time, and a case that fails, as it is held and as it is timed; torch is not kept waiting for."""
    _case(tmp_path, "net", is_timed=True)
    late = _run(-1.0, tmp_path)
    assert late.failed == ["net fp16 in full: not held to float64, for no time was left"]
    assert "torch compile, net fp16, batch 1: no time left" in late.left_out
    found = _run(math.inf, tmp_path)
    assert [line.partition(": ")[0] for line in found.failed[-2:]] == ["net fp16 in full", "net fp16 in full, batch 1"]
    assert "FileNotFoundError: " in found.failed[-2]
    assert "ArtifactError: " in found.failed[-1]
    assert set(found.seconds) == {"timed", "held", "torch"}


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what lay there stays, as where the disk is full."""
    output = tmp_path / "RESULTS.md"
    output.write_text("before")
    check._written(output, "after")
    assert output.read_text() == "after"
    check._written(tmp_path / "nowhere" / "RESULTS.md", "found\n")
    assert "found\n" in (said := capsys.readouterr().err)
    assert "RESULTS.md cannot be written: No such file or directory; it would read as above" in said


def test_a_gpu_of_another_kind_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened:
        def library(self) -> Library:
            return Library(tmp_path, typed_graph(NET), (), code=MachineCode("sm_90a", tmp_path / "model.cubin"))

    _case(tmp_path, "net", is_timed=False)
    monkeypatch.setattr(Case, "artifact", Opened())
    why = check._for_another(cases(tmp_path), Gpu("A100", (8, 0)))
    assert why == f"{tmp_path / 'net'} was compiled for sm_90a, which the A100 here does not run; make gpu-prepare ARCH=... for it"
    assert check._for_another(cases(tmp_path), Gpu("H100", (9, 0))) == ""


def test_without_peaks_times_are_told_all_the_same() -> None:
    plan = gpu_plan(specialize(typed_graph(NET), {"N": 1}))
    shares = kernel_shares(plan, [(name, [2.0]) for name in ("enter0", "conv1", "matvec2", "leave3")], 0.0, 0.0, 0.0)
    text = Results([], timed=[Timed("net", "fp16", 1, [4.0], {}, shares)]).text()
    assert "| net | fp16 | 1 | 4.000 | 250 | - | - | - |" in text


@pytest.mark.slow
@needs_nvcc
def test_the_whole_script_runs_emulated(tmp_path: Path) -> None:
    folder, output = tmp_path / "gpu", tmp_path / "RESULTS.md"
    with Apart() as apart:
        assert apart(prepare.main, [str(folder), "lenet5", "mlp", "--timed", "lenet5", "--batches", "1,2"]) == 0
        assert apart(prepare.main, [str(folder), "lenet5", "--timed", ""]) == 0  # all is there
    with Apart() as apart:
        assert apart(check.main, [str(folder), "--emulate", "-o", str(output)]) == 0
    text = output.read_text()
    assert "no time among them means anything" in text
    assert "6 networks agree with float64; 0 things differ or failed." in text
    for row in ("fp16 | 1", "fp16 | 2", "bf16 | 1", "bf16 | 2"):
        assert f"| lenet5 | {row} | " in text
    assert "## lenet5, fp16, batch 2: the 9 kernels that lose most" in text
    values = next(folder.glob("mlp-fp16/values.npz"))
    values.write_bytes(next(folder.glob("mlp-fp32/values.npz")).read_bytes())
    with Apart() as apart:  # float16 is beyond the tolerance of float32, which is said
        assert apart(check.main, [str(folder), "--emulate", "-o", str(output), "--seconds", "60"]) == 1
    assert "mlp fp16, batch of 2: softmax1 DIFFERS" in output.read_text()
