"""A step of training as a graph: printed, verified, the same in every engine and file, and right by finite differences."""

import json

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import convc as cc
from convc.backends.onnx.write.export import newest_opset, to_model
from convc.backends.reference import run
from convc.compiler.engines.table import ENGINES
from convc.compiler.training.onnx_step import export_training
from convc.compiler.training.step import evaluation_step, step_of, trainable
from convc.ir.errors import InvalidModel, UsageError
from convc.ir.verifier import verify_graph
from convc.tests.compiler.training.networks import dropping, fed, flat, residual, step_and_feed

NETS = [residual, dropping]


def test_the_way_back_through_a_batch_norm_takes_its_sums_together():
    """Two sums beside two means: its statistics have no way back of their own."""
    back = [node for node in cc.training_step(residual).ops if ".train." in node.name and ".back." in node.name]
    assert {node.name.split(".back")[0] for node in back} == {"bn1.train.batch_norm", "bn2.train.batch_norm"}
    assert sum(node.kind.name == "reduce_sum" for node in back) == 4


def test_a_step_is_a_graph_in_text():
    for net in (*NETS, cc.models.lenet5):
        step = cc.training_step(net)
        verify_graph(step)
        text = cc.print_graph(step)
        assert cc.print_graph(cc.parse_graph(text)) == text
        assert [node.name for node in step.outputs][:2] == ["loss", "accuracy"]
        assert step.symbols == ("N",)


def test_an_update_stands_where_its_gradient_is_made():
    """Long before the gradients of the layers in front of it."""
    step = cc.training_step(cc.models.lenet5())
    places = {node.name: place for node, place in step.positions.items()}
    assert places["output.w.next"] < places["c5.w.next"] < places["c1.w.next"]
    assert places["output.w.next"] < min(place for name, place in places.items() if name.startswith("c3.back"))


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_gradients_are_slopes(net):
    """By a step of plain descent at rate 1, in float64."""
    _, made, feed = step_and_feed(net, image="f64[N,1,8,8]", optimizer=cc.sgd(momentum=0, weight_decay=0))
    feed["learning_rate"] = np.array(1.0)
    after = run(made.graph, feed, "f64")
    draws = np.random.default_rng(3)
    for name in set(made.weights) - set(made.statistics):
        gradient, way = feed[name] - after[f"{name}.next"], draws.standard_normal(feed[name].shape)
        losses = [run(made.graph, feed | {name: feed[name] + by * way}, "f64")["loss"] for by in (1e-6, -1e-6)]
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx((gradient * way).sum(), rel=1e-5, abs=1e-8), name


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_engines_and_plain_files_agree(net):
    _, made, feed = step_and_feed(net)
    wanted = run(made.graph, feed, "f64")
    for engine in ("onnx", "reference"):
        got = ENGINES[engine].start(made.graph, 1)(feed)
        assert all(np.allclose(got[name], wanted[name], rtol=1e-4, atol=1e-5) for name in wanted)
    for opset in (17, 21, newest_opset()):
        model = to_model(made.graph, opset)
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""}
    (loss, *_) = ReferenceEvaluator(to_model(made.graph, 17)).run(None, feed)
    assert loss == pytest.approx(float(wanted["loss"]), rel=1e-5)


def test_bits_do_not_hang_on_threads():
    _, made, feed = step_and_feed(residual)
    one, two = (ENGINES["tvm"].start(made.graph, threads)(feed) for threads in (1, 2))
    wanted = run(made.graph, feed, "f64")
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert all(np.allclose(one[name], wanted[name], rtol=1e-4, atol=1e-5) for name in wanted)


def test_running_statistics_are_those_of_pytorch():
    graph, made, feed = step_and_feed(residual)
    x = feed["image"]
    after = run(made.graph, feed)
    conv = graph.by_name["conv1"]
    y = conv.kind.meaning(conv.op, x, feed["conv1.w"])
    n = y.size // y.shape[1]
    assert np.allclose(after["bn1.mean.next"], 0.1 * y.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(after["bn1.var.next"], 0.9 + 0.1 * y.var((0, 2, 3)) * n / (n - 1), atol=1e-6)


def test_dropout_drops_its_share_and_another_at_another_seed():
    _, made, feed = step_and_feed(dropping, batch=400)
    kept = made.graph.by_name["dropout1"]
    shown = cc.Graph.of("g", made.graph.inputs, [kept])
    first, again, other = (run(shown, {n.name: (feed | {"seed": np.array(s, np.int32)})[n.name] for n in shown.inputs}) for s in (1, 1, 2))
    zeros = (first[kept.name] == 0).mean()
    assert zeros == pytest.approx(0.25, abs=0.03)
    assert np.array_equal(first[kept.name], again[kept.name])
    assert not np.array_equal(first[kept.name] == 0, other[kept.name] == 0)


def test_evaluation_is_the_network_as_it_infers():
    """Without dropout, and by the stored statistics."""
    for net in NETS:
        trainer = cc.Trainer(net, engine="reference")
        images, labels = np.random.default_rng(0).standard_normal((6, 1, 8, 8)).astype(np.float32), np.array([0, 1, 2, 3, 0, 1])
        scores = run(trainer.network(), {"image": images})[trainer.graph.outputs[0].name]
        score = trainer.evaluate(images, labels, batch=4)
        assert score.loss == pytest.approx(-np.log(scores[np.arange(6), labels]).mean(), rel=1e-5)
        assert score.accuracy == pytest.approx((scores.argmax(1) == labels).mean())
        assert "seed" not in evaluation_step(net).by_name


def test_frozen_parameters_stay_out():
    graph = residual()
    made = step_of(graph, frozen=["conv1.*", "bn1.*"])
    assert not {name for name in made.weights if name.startswith(("conv1.", "bn1."))}
    assert made.graph.by_name["conv1.w"].weights is not None
    assert made.graph.by_name["bn1"].inputs[3].weights is not None  # stored statistics, as nothing of the layer is trained
    assert not any(node.name.startswith("conv1.back") for node in made.graph.nodes)


def test_gradients_are_clipped_together():
    _, made, feed = step_and_feed(flat, loss="mean_squared", optimizer=cc.sgd(0, 0), clip_norm=1e-3)
    after = run(made.graph, feed | {"learning_rate": np.array(1, np.float32)}, "f64")
    moved = sum(((feed[name] - after[f"{name}.next"]) ** 2).sum() for name in made.weights)
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-2)


def test_smoothed_labels_cost_a_sure_network():
    _, plain, feed = step_and_feed(residual)
    _, smooth, _ = step_and_feed(residual, label_smoothing=0.1)
    sure = feed | {"fc1.w": feed["fc1.w"] * 100}
    assert run(smooth.graph, sure)["loss"] != pytest.approx(float(run(plain.graph, sure)["loss"]), rel=1e-3)


@pytest.mark.parametrize("loss", ["mean_squared", "binary_cross_entropy"])
def test_other_losses_fall(loss):
    _, made, feed = step_and_feed(flat, loss=loss, optimizer=cc.adam())
    losses = []
    for _ in range(30):
        after = run(made.graph, feed)
        losses.append(float(after["loss"]))
        feed |= {name.removesuffix(".next"): value for name, value in after.items() if name.endswith(".next")}
    assert losses[-1] < 0.8 * losses[0]


def test_a_file_says_how_to_go_on(tmp_path):
    export_training(cc.training_step(dropping), tmp_path / "step.onnx", 17)
    model = onnx.load(tmp_path / "step.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert "NAME.next" in said["convc.readme"]
    inputs, outputs = ({value.name for value in values} for values in (model.graph.input, model.graph.output))
    assert set(json.loads(said["convc.carried"])) == {name.removesuffix(".next") for name in outputs if name.endswith(".next")} <= inputs


def two_results():
    return cc.parse_graph(
        "graph @g(%x: f32[N,4]) { %w = param : f32[4,4] %a = dense(%x, %w) : f32[N,4] %b = tanh(%a) : f32[N,4] return %a, %b }"
    )


def without_gradient():
    return cc.parse_graph(
        "graph @g(%x: f32[N,4]) { %w = param : f32[3,4] %y = dense(%x, %w) : f32[N,3] "
        "%s = param : f32[] %z = param {init=full, value=0} : u8[] %q = quantize_linear(%y, %s, %z) : u8[N,3] "
        "%d = dequantize_linear(%q, %s, %z) : f32[N,3] %v = param : f32[2,3] %e = dense(%d, %v) : f32[N,2] return %e }"
    )


def of_a_state():
    return cc.parse_graph(
        "graph @g(%x: f32[N,4]) { %w = param : f32[3,4] %w.velocity = param : f32[3] %y = dense(%x, %w, %w.velocity) : f32[N,3] return %y }"
    )


@pytest.mark.parametrize(
    ("make", "how", "error", "said"),
    [
        (residual, {"loss": "crossentropy"}, UsageError, "did you mean 'cross_entropy'"),
        (residual, {"frozen": ["conv9.*"]}, UsageError, "no parameter of @residual is called 'conv9.*'"),
        (residual, {"frozen": ["*"]}, UsageError, "nothing left to train"),
        (residual, {"clip_norm": 0.0}, UsageError, "clip_norm is 0.0, expected more than 0"),
        (residual, {"label_smoothing": 1.0}, UsageError, "label_smoothing is 1.0"),
        (two_results, {}, InvalidModel, "returns 2 values; a loss is taken of one"),
        (
            without_gradient,
            {},
            InvalidModel,
            "the loss does not change with %w, since %q = quantize_linear behind it has no gradient; freeze it",
        ),
        (of_a_state, {}, InvalidModel, "%w.velocity = param has a name that the step's own state needs; rename it"),
    ],
)
def test_what_is_refused(make, how, error, said):
    with pytest.raises(error) as caught:
        cc.training_step(make(), **how)
    assert said in str(caught.value)


def test_one_number_a_channel_has_no_variance():
    @cc.network(image="1,2,1,1")
    def single(image):
        return cc.dense(cc.batch_norm(image), 3)

    with pytest.raises(InvalidModel, match=r"one number for each channel.*batches of 2 or more"):
        cc.training_step(single)


@pytest.mark.parametrize(
    "make",
    [lambda: cc.sgd(momentum=1.0), lambda: cc.sgd(0.0, nesterov=True), lambda: cc.adam((0.9, 1.0)), lambda: cc.adam(weight_decay=-1)],
)
def test_optimizers_refuse_what_cannot_be(make):
    with pytest.raises(UsageError):
        make()


def test_numbers_and_statistics_are_not_trained():
    graph = residual()
    names = {node.name for node in trainable(graph)}
    assert {"conv1.w", "bn1.scale", "bn1.shift", "fc1.b"} <= names
    assert not names & {"bn1.mean", "bn1.var"}


TWICE = """graph @twice(%x: f64[N,3]) {
  %scale = param {init=ones} : f64[3]
  %shift = param {init=zeros} : f64[3]
  %mean = param {init=zeros} : f64[3]
  %var = param {init=ones} : f64[3]
  %a = batch_norm(%x, %scale, %shift, %mean, %var) : f64[N,3]
  %square = mul(%a, %a) : f64[N,3]
  %b = batch_norm(%square, %scale, %shift, %mean, %var) : f64[N,3]
  return %b
}"""


def test_a_norm_that_is_read_twice_moves_its_statistics_twice():
    graph = cc.parse_graph(TWICE)
    made = step_of(graph, optimizer=cc.sgd(0.0))
    feed = fed(graph, made, batch=8)
    found = run(made.graph, feed)["mean.next"]
    x = feed["x"]
    first = x.mean(0)
    second = ((x - first) ** 2 / (x.var(0) + 1e-5)).mean(0)
    assert found == pytest.approx(0.9 * 0.1 * first + 0.1 * second, rel=1e-6)


@pytest.mark.parametrize("made", [lambda: cc.adam(epsilon=float("nan")), lambda: cc.sgd(weight_decay=float("inf"))])
def test_numbers_that_no_optimizer_has(made):
    with pytest.raises(UsageError, match=r"is (nan|inf), expected"):
        made()


def _layers(step, mark):
    """By layer, how many nodes have a scope of that layer within `mark`."""
    return {node.origin.scope for node in step.nodes if node.origin.scope.startswith(mark)}


def test_what_goes_back_and_updates_stand_apart_from_what_goes_forward_layer_by_layer():
    step = cc.training_step(residual)
    assert {node.origin.scope for node in step.nodes if ".back." in node.name} == _layers(step, "gradient.")
    assert {"gradient.conv1", "gradient.bn1", "gradient.relu1", "gradient.fc1", "gradient.loss"} <= _layers(step, "gradient.")
    assert {f"update.{name}" for name in ("conv1", "bn1", "conv2", "bn2", "fc1")} == _layers(step, "update.")
    assert step.by_name["conv1.w.velocity"].origin.scope == "update.conv1"
    assert step.by_name["loss"].origin.scope == "loss"


@pytest.mark.parametrize("net", [residual, cc.models.resnet20], ids=lambda net: net.name)
def test_folded_a_step_goes_one_way(net):
    """Forward, then the loss, then the gradients, then the updates: no edge leads back."""
    ways = ["loss", "gradient", "update"]
    for node in cc.training_step(net).ops:
        place = [
            ways.index(part) if part in ways else -1 for part in (each.origin.scope.partition(".")[0] for each in (node, *node.inputs))
        ]
        assert max(place) == place[0], node.where
