"""The planner on weights whose rank is known, the choice after a rejection, and calibration inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.files.calibration import Calibration, read_calibration
from convc.compiler.planning import search
from convc.compiler.planning.budget import Budget
from convc.compiler.planning.menu import menu
from convc.compiler.planning.race import Lap
from convc.compiler.planning.search import plan_network
from convc.compiler.planning.study import excluded_layers, study
from convc.ir.errors import BudgetMissed, InvalidModel, UsageError
from convc.ir.weights import Weights
from convc.passes.bottlenecks.forms import Split, splittable_layers
from convc.tests.support.graphs import typed_graph
from convc.tests.support.places import DATA

NET = """graph @net(%x: f32[N,3,16,16]) {
  %a.w = param : f32[24,3,3,3]
  %a = conv2d(%x, %a.w) {pads=[1,1,1,1]}
  %ar = relu(%a)
  %b.w = param : f32[32,24,3,3]
  %b = conv2d(%ar, %b.w) {pads=[1,1,1,1]}
  %br = relu(%b)
  %c.w = param : f32[40,32,1,1]
  %c = conv2d(%br, %c.w) {strides=[2,2]}
  %cr = relu(%c)
  %p = global_avg_pool(%cr)
  %f = flatten(%p)
  %d.w = param : f32[24,40]
  %d = dense(%f, %d.w)
  %dr = relu(%d)
  %e.w = param : f32[10,24]
  %e = dense(%dr, %e.w)
  return %e
}"""
PLANTED = {"b": Split("both", (6, 9)), "c": Split("factors", (7,)), "d": Split("factors", (5,))}
NOISE = 1e-3  # of the planted weights


def planted_network():
    """The network with weights of these ranks, and a little noise on top."""
    draws = np.random.default_rng(5)

    def planted(node, operands):
        layer = node.name.removesuffix(".w")
        if node.weights is None or layer not in PLANTED:
            return node.reading(operands)
        ranks, (k, d, *kernel) = PLANTED[layer].ranks, node.typed.concrete()
        core = draws.standard_normal((ranks[-1], ranks[0] if len(ranks) > 1 else d, *kernel))
        low = np.tensordot(draws.standard_normal((k, ranks[-1])), core, 1)
        if len(ranks) > 1:
            low = np.moveaxis(np.tensordot(draws.standard_normal((d, ranks[0])), low, (1, 1)), 0, 1)
        low *= np.sqrt(2 / np.prod(low.shape[1:])) / low.std()
        noisy = low + NOISE * low.std() * draws.standard_normal(low.shape)
        return node.like(weights=Weights.of(noisy.astype(np.float32), node.name))

    return typed_graph(NET).rebuild(planted)


def known_of(graph, calibration, *, ends=False):
    layers = splittable_layers(graph, {"N": 1})
    return study(graph, calibration, excluded_layers(layers, (), ends=ends), None, 1, 0)


def calibration_of(count, *, is_real=True):
    draws = np.random.default_rng(1)
    values = draws.random((count, 3, 16, 16)) * draws.random((count, 3, 1, 1))
    fit, held_out = (({"x": part.astype(np.float32)}) for part in (values[::2], values[1::2]))
    return Calibration(fit, held_out, is_real)


def test_what_is_cast_for_calibration_is_said(tmp_path):
    said, draws = list[str](), np.random.default_rng(0)
    np.savez(tmp_path / "c.npz", x=draws.random((8, 3, 16, 16)))
    calibration = read_calibration(typed_graph(NET), [str(tmp_path / "c.npz")], say=said.append)
    assert calibration.fit["x"].dtype == np.float32
    assert said == [f"'{tmp_path / 'c.npz'}': 'x' is float64, cast to float32"]


@pytest.mark.parametrize("is_real", [True, False])
def test_planted_ranks_are_found_and_the_error_is_the_noise(is_real):
    """At an error just above what the planted ranks lose, any rank less errs a hundred times more."""
    graph = planted_network()
    calibration = calibration_of(200, is_real=is_real)
    known = known_of(graph, calibration)
    floor = known.trial.error(known.apply(PLANTED))
    assert max(floor, known.plan(PLANTED).error) < 5 * NOISE
    made = plan_network(known, Budget("error", 1.5 * floor), 1, 1, measured=False)
    assert made.inserted.plan.splits == PLANTED
    exact, near = (reference.run(g, calibration.held_out, "f64")["e"] for g in (graph, made.inserted.after))
    assert np.linalg.norm(near - exact) <= 5 * NOISE * np.linalg.norm(exact)


def test_what_one_split_loses_is_predicted_within_a_factor_of_two():
    """Only at the outputs: in one layer after another of a chain, errors shrink or grow. The last layer is an output itself."""
    known = known_of(typed_graph(NET), calibration_of(40), ends=True)
    for layer in known.layers:
        split = Split("factors" if layer.has_one_tap else "expand", (layer.rank - 4,))
        predicted, measured = known.plan({layer.name: split}).error, known.trial.error(known.apply({layer.name: split}))
        assert measured / 2.5 <= predicted <= measured * 2.5, layer.name


def test_what_a_layer_is_split_into_does_not_depend_on_which_others_are_looked_at():
    """A plan that is applied looks at what it splits, and once made another network than was planned."""
    graph, calibration = typed_graph(NET), calibration_of(8)
    made = [study(graph, calibration, excluded, None, 1, 0).apply({"b": Split("reduce", (8,))}) for excluded in (set(), {"a", "c"})]
    one, other = ([node.weights.array() for node in each.params if node.weights.is_given] for each in made)
    assert one
    assert all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_a_bound_on_the_error_holds_for_the_whole_plan_and_is_used():
    """Predictions add up what each layer loses alone, and miss; here also by ten times."""
    known = known_of(typed_graph(NET), calibration_of(40))
    for bound in (0.3, 0.1, 0.03):
        made = plan_network(known, Budget("error", bound), 1, 1, measured=False)
        assert known.trial.error(made.inserted.after) <= bound
    for wrong in (0.1, 10.0):
        gains = {name: gain * wrong**2 for name, gain in known.gains.items()}
        again = plan_network(replace(known, gains=gains), Budget("error", bound), 1, 1, measured=False)
        assert known.trial.error(again.inserted.after) <= bound
        assert again.share <= made.share + 0.02


def test_a_layer_that_seems_to_lose_nothing_does_not_hold_up_the_search():
    known = known_of(typed_graph(NET), calibration_of(40))
    wrong = replace(known, gains={**known.gains, "b": 0.0})
    made = plan_network(wrong, Budget("error", 0.03), 1, 1, measured=False)
    assert known.trial.error(made.inserted.after) <= 0.03


def test_outputs_that_are_not_finite_have_no_error_to_bound():
    known = known_of(typed_graph(NET), calibration_of(8))
    hot = replace(known.trial, inputs={"x": np.full((2, 3, 16, 16), np.inf, np.float32)})
    with pytest.raises(InvalidModel, match="@net has outputs on the calibration inputs that are not finite"):
        hot.error(known.graph)


def test_a_rejected_split_is_not_chosen_again_nor_a_dearer_one_of_its_form(monkeypatch):
    """The measurement is the machine's; here it says that no split of `b` is faster, and what follows is the planner's."""
    known = known_of(planted_network(), calibration_of(40))
    monkeypatch.setattr(search, "_slower", lambda known, splits, races: {"b": [Lap(1.0, 2.0)] * 2} if "b" in splits else {})
    said = []
    made = plan_network(known, Budget("macs", 0.8), 1, 1, measured=True, say=said.append)
    assert len(made.rejected) == search.ROUNDS
    assert "b" not in made.inserted.plan.splits
    assert all("rejected by measurement: b: " in line for line in said[:-1])
    assert f"{made.share:.3f} of the macs are left" in said[-1]
    assert 0 < made.missed == pytest.approx(made.share - 0.8)
    with pytest.raises(BudgetMissed, match=f"--macs 0.8 is missed by {made.missed:.2g}: {made.share:.3f} of the macs are left"):
        made.check()


def test_where_nothing_else_meets_the_budget_what_is_rejected_is_left_out(monkeypatch):
    known = known_of(planted_network(), calibration_of(8))
    monkeypatch.setattr(search, "_slower", lambda known, splits, races: {"b": [Lap(1.0, 2.0)] * 2} if "b" in splits else {})
    said = []
    made = plan_network(known, Budget("macs", 0.1), 1, 1, measured=True, say=said.append)
    assert len(made.rejected) == 1
    assert set(made.inserted.plan.splits) == {"c", "d"}
    assert f"{made.share:.3f} of the macs are left" in said[-1]
    assert made.missed == pytest.approx(made.share - 0.1)
    with pytest.raises(BudgetMissed, match=f"--macs 0.1 is missed by {made.missed:.2g}: .*; give a larger --macs, exclude less"):
        made.check()


def test_a_rejection_takes_dearer_splits_of_the_form_with_it():
    known = known_of(planted_network(), calibration_of(40))
    listed = menu(known, "macs", 1, [("c", Split("factors", (4,)))])
    (own,) = (own for name, own in zip(listed.names, listed.options, strict=True) if name == "c")
    assert {split for split, *_ in own if split} == {Split("factors", (rank,)) for rank in (1, 2, 3)}


def test_the_global_choice_errs_less_than_the_same_share_for_every_layer():
    graph = planted_network()
    known = known_of(graph, calibration_of(40))
    listed = menu(known, "macs", 1)
    even = [max((i for i, (_, cost, _) in enumerate(own) if cost <= 0.4 * own[-1][1]), default=0) for own in listed.options]
    best = plan_network(known, Budget("macs", listed.share(even)), 1, 1, measured=False)
    assert best.missed == 0
    best.check()
    assert best.inserted.plan.error <= 1.01 * known.plan(listed.splits(even)).error  # costs are rounded up to units


def test_a_budget_below_the_least_says_how_close_it_comes():
    known = known_of(planted_network(), calibration_of(8))
    with pytest.raises(UsageError, match=r"--macs 0.01 cannot be met: at the smallest ranks 0\.\d+ of the macs are left, 0\.\d+ of them"):
        plan_network(known, Budget("macs", 0.01), 1, 1, measured=False)


def test_the_last_photograph_is_held_out():
    graph = typed_graph(NET)
    photos = [str(DATA / name) for name in ("coffee.jpg", "cat.jpg", "astronaut.jpg")]
    one, two = (read_calibration(graph, files, 8) for files in (photos, photos[:2]))
    assert [one.fit["x"].shape, one.held_out["x"].shape] == [(8, 3, 16, 16), (2, 3, 16, 16)]
    assert len({image.tobytes() for image in one.fit["x"]}) == 8
    assert 0 <= one.fit["x"].min() < one.fit["x"].max() <= 1
    again = read_calibration(graph, photos, 8)
    assert np.array_equal(one.fit["x"], again.fit["x"])
    assert not np.array_equal(two.held_out["x"], one.held_out["x"])


def test_one_row_in_four_of_a_file_is_held_out_and_a_fixed_batch_is_kept(tmp_path):
    values = np.random.default_rng(0).random((18, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "x.npz", values)
    found = read_calibration(typed_graph(NET), [str(tmp_path / "x.npz")])
    assert (len(found.fit["x"]), len(found.held_out["x"])) == (14, 4)
    pinned = typed_graph(NET.replace("N,3", "2,3"))
    found = read_calibration(pinned, [str(tmp_path / "x.npz")])
    assert (len(found.fit["x"]), len(found.held_out["x"])) == (14, 4)
    assert all(len(batch["x"]) == 2 for batch in found.batches(pinned, 5))
