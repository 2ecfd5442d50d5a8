"""Plots: what they draw is what their results say, names out of files are no formulas, and without matplotlib there is a sentence."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

import convc as cc
from convc.compiler.bench.layer_times import LayerTime
from convc.compiler.bench.profile import NetworkProfile
from convc.compiler.training.history import History, LearnedStep, Score
from convc.ir.errors import BackendMissing, UsageError
from convc.ir.plot import named_places, panels, scale_of
from convc.passes.analysis.cost import graph_cost
from convc.passes.analysis.layer_plot import _change
from convc.tests.support.graphs import typed_graph

NET = """graph @net(%x: f32[N,3,32,32]) {
  %a.w = param : f32[16,3,3,3]
  %a = conv2d(%x, %a.w) {pads=[1,1,1,1]}
  %scale = param : f32[16]
  %shift = param : f32[16]
  %mean = param : f32[16]
  %var = param {init=around_one} : f32[16]
  %n = batch_norm(%a, %scale, %shift, %mean, %var)
  %r = relu(%n)
  %b.w = param : f32[8,16,1,1]
  %b = conv2d(%r, %b.w)
  return %b
}"""


@pytest.fixture(scope="module")
def trace():
    return cc.optimize(typed_graph(NET))[1]


@pytest.fixture(scope="module")
def planned():
    return cc.plan(cc.network("[CONV-RELU]*3-POOL-FC", image="N,3,16,16", classes=10)(), macs=0.8, measure=False, check=1)


def heights(bars):
    return [bar.get_height() for bar in bars]


def test_a_trace_has_the_work_of_each_layer_before_and_after(trace):
    plot = trace.plot()
    work, memory = plot.figure.axes
    before, after = work.containers
    for bars, graph in ((before, trace.original), (after, trace[-1].graph)):
        assert sum(heights(bars)) == pytest.approx(graph_cost(graph).macs / 1e3)
    assert [axes.get_ylabel() for axes in (work, memory)] == ["thousand multiply-adds", "KiB of its result"]
    assert [text.get_text() for text in memory.get_xticklabels()] == ["a", "b"]  # the batch norm went into its convolution
    assert heights(after) == pytest.approx([16 * 27 * 1024 / 1e3, 16 * 8 * 1024 / 1e3])
    assert heights(memory.containers[0]) == pytest.approx([2 * 16 * 4, 8 * 4])
    assert heights(memory.containers[1]) == pytest.approx([16 * 4, 8 * 4])
    assert [text.get_text() for text in work.get_legend().get_texts()] == ["as it came", "after the passes"]
    assert plot.title == "@net: 573.4 thousand multiply-adds, 96 KiB of activations at once"  # no pass changed either
    assert (_change([2000, 500]), _change([4096, 2048], of_bytes=True)) == ("2 -> 0.5 thousand ", "4 -> 2 KiB")


def test_a_pipeline_that_changed_nothing_has_one_bar_a_layer():
    work, _ = cc.optimize(typed_graph(NET), level=0)[1].plot().figure.axes
    assert len(work.containers) == 1


def test_a_plan_lies_on_the_curve_that_it_was_chosen_from(planned):
    (axes,) = planned.plot().figure.axes
    curve, plan, measured = axes.lines
    assert list(zip(*curve.get_data(), strict=True)) == planned.menu.points(40)
    assert (plan.get_xdata()[0], measured.get_ydata()[0]) == (planned.share, planned.certificate.outputs[0].relative)
    assert planned.share <= 0.8
    assert graph_cost(planned.network).macs == pytest.approx(planned.share * graph_cost(planned.inserted.before).macs)


def test_a_plan_shows_itself(planned):
    assert repr(planned).startswith(f"@{planned.network.name}, macs 0.8: ")
    assert "output error on 1 random" in repr(planned)
    assert planned._repr_html_().startswith("<table>")


def test_a_profile_has_a_bar_for_each_kernel_those_apart_that_hold_nobody_up():
    layers = [LayerTime(f"k{i}", [f"n{i}"], float(i), 0.5, 10 * i, 10 * i, 2.0, 8, 1.0, on_longest_path=i > 1) for i in (1, 2, 3)]
    found = NetworkProfile("net", "tvm", layers)
    times, speeds = found.plot().figure.axes
    assert heights(times.containers[0]) == [1, 2, 3]
    assert [text.get_text() for text in speeds.get_xticklabels()] == ["n1", "n2", "n3"]
    assert len({bar.get_facecolor() for bar in times.containers[0]}) == 2
    assert repr(found).splitlines()[0] == "@net in tvm: 6 us in 3 kernels"
    assert "<td" in found._repr_html_()


def test_a_profile_marks_the_times_that_its_two_rounds_disagree_on():
    layers = [LayerTime(f"k{spread}", ["n"], 0.1, 0.5, 0, 0, 0.0, 8, 1.0, True, spread=spread) for spread in (1.5, 1.6)]
    _, doubt, legend, _, steady, rough = repr(NetworkProfile("net", "tvm", layers, ["busy"])).splitlines()
    assert (steady.split()[0], rough.split()[0], doubt) == ("0.1", "~0.1", "busy")
    assert legend == "~: in the slower of its two rounds it took more than 1.5 times as long as in its fastest run"
    assert legend in NetworkProfile("net", "tvm", layers)._repr_html_()
    assert "~" not in repr(NetworkProfile("net", "tvm", layers[:1]))


@pytest.mark.parametrize(
    ("most", "of_bytes", "scale"),
    [
        (2000, False, (1e3, "thousand ")),
        (999, False, (1, "")),
        (3e9, False, (1e9, "billion ")),
        (0, True, (1, "bytes")),
        (2048, True, (1024, "KiB")),
    ],
)
def test_an_axis_has_the_unit_of_its_largest_figure(most, of_bytes, scale):
    assert scale_of(most, of_bytes=of_bytes) == scale


def test_a_history_has_each_step_its_running_mean_and_what_was_evaluated():
    history = History("net", [LearnedStep(i + 1, 0.1, Score(10.0 - i, i / 10)) for i in range(10)], [(10, Score(0.5, 0.9))])
    loss, accuracy, rate = history.plot().figure.axes
    assert [list(drawn.get_ydata()) for drawn in loss.lines] == [list(range(10, 0, -1)), list(range(10, 0, -1)), [0.5]]
    assert (list(accuracy.lines[2].get_xdata()), list(rate.lines[0].get_ydata())) == ([10], [0.1] * 10)
    assert "after step 10: loss 1, accuracy 90.0%" in repr(history)
    assert len(History("net", [LearnedStep(1, 0.1, Score(1.0, None))]).plot().figure.axes) == 2
    assert repr(History("net")) == "@net: no step yet"


def test_a_summary_has_the_work_the_parameters_and_the_memory_of_each_layer():
    found = cc.summary(typed_graph(NET))
    plot = found.plot()
    drawn = [heights(axes.containers[0]) for axes in plot.figure.axes]
    assert [sum(each) for each in drawn] == pytest.approx(
        [found.totals["macs"] / 1e3, found.totals["params"], found.totals["memory_bytes"] / 2**10]
    )
    assert [axes.get_ylabel() for axes in plot.figure.axes] == ["thousand multiply-adds", "parameters", "KiB of its result"]
    assert [text.get_text() for text in plot.figure.axes[-1].get_xticklabels()] == ["x", "a", "n", "b"]


def test_a_trainer_keeps_its_history():
    trainer = cc.Trainer(cc.network("FC", image="N,4", classes=2)(), engine="reference")
    images, labels = np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1])
    scores = [trainer.step(images, labels, learning_rate=0.1) for _ in range(3)]
    held = trainer.evaluate(images, labels)
    assert [each.score for each in trainer.history.steps] == scores
    assert trainer.history.evaluations == [(3, held)]
    assert repr(trainer).startswith("<trainer of @")
    trainer.restore(trainer.values, 3)
    assert trainer.history.steps == []


def test_names_are_no_formulas_and_of_characters_that_the_font_has():
    plot, (axes,) = panels("$x^$ \n \N{HEBREW LETTER ALEF}", (2.0,))
    named_places(axes.xaxis, ["$\\frac{", "a\nb", "\N{RIGHT-TO-LEFT OVERRIDE}c", "\N{CJK UNIFIED IDEOGRAPH-4E2D}"])
    assert plot._repr_png_().startswith(b"\x89PNG")
    assert plot.title == "$x^$ \\n \\u{5d0}"


def test_a_plot_is_written_as_what_its_suffix_says(trace, tmp_path):
    plot = trace.plot()
    for suffix, head in ((".svg", b"<?xml"), (".png", b"\x89PNG")):
        plot.save(tmp_path / f"plot{suffix}")
        assert (tmp_path / f"plot{suffix}").read_bytes().startswith(head)
    with pytest.raises(UsageError, match=r"'plot.doc' is no picture; its suffix may be one of .*\.svg"):
        plot.save("plot.doc")
    with pytest.raises(UsageError, match="cannot write"):
        plot.save(tmp_path / "nowhere" / "plot.svg")


def test_without_matplotlib_there_is_a_sentence(trace, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BackendMissing, match=r'a plot needs matplotlib, .*pip install "convc\[plot\]"'):
        trace.plot()


def test_a_plan_shows_why_its_times_are_in_doubt(planned):
    doubtful = replace(planned, certificate=replace(planned.certificate, doubts=["the machine is busy: as ever"]))
    sentence = "the machine is busy: as ever; the latencies are in doubt: measure again when nothing else runs"
    assert repr(doubtful).endswith(f"\n{sentence}")
    for shown in (repr(doubtful), doubtful._repr_html_()):
        assert sentence in shown
        assert "), in doubt" in shown
    assert "as ever" not in repr(replace(doubtful, certificate=replace(doubtful.certificate, doubts=[])))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "give one of macs, params, latency, error"),
        ({"macs": 0.5, "error": 0.1}, "give one of"),
        ({"macs": 1.5}, "macs=1.5 is no share"),
        ({"macs": 0.5, "engines": ["onxx"]}, "unknown backend 'onxx'"),
    ],
)
def test_a_plan_refuses(asked, said):
    with pytest.raises(UsageError, match=said):
        cc.plan(typed_graph(NET), **asked)


def test_a_profile_refuses():
    with pytest.raises(UsageError, match=r"kernels of reference cannot be timed; those of .*tvm"):
        cc.profile(typed_graph(NET), engine="reference")
    with pytest.raises(UsageError, match="of no batch of 4"):
        cc.profile(cc.parse_graph("graph @g(%x: f32[1,4]) {\n  %y = relu(%x) : f32[1,4]\n  return %y\n}\n"), batch=4)
