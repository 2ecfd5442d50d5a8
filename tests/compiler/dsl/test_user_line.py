"""Whose line a node carries: the user's own, whatever stands between it and the layer, or a pattern's word."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import click
import pytest
from click.testing import CliRunner

import convc as cc
from convc.compiler.files.model import Request, load
from convc.ir.errors import ConvcError, ShapeError
from convc.models import ZOO


def build(function):
    return cc.network(x="N,4,9,9")(function)()


def line_of(function, after=0):
    return f"test_user_line.py:{inspect.getsourcelines(inspect.unwrap(function))[1] + after}"


def source(graph):
    return graph.outputs[0].origin.source


def plain(x):
    return cc.relu(x)


def scoped(x):
    with cc.scope("a"), cc.scope("b"):
        return cc.relu(x)


@cc.scope("stem")
def in_a_scope(x):
    return cc.relu(x)


def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **named):
        return function(*args, **named)

    return wrapper


@traced
def decorated(x):
    return cc.relu(x)


def through_functools(x):
    return functools.singledispatch(cc.relu)(x)


def through_a_partial(x):
    return functools.partial(cc.leaky_relu, alpha=0.1)(x)


def through_a_context(x):
    return cc.scope("stem")(cc.relu)(x)


@pytest.mark.parametrize(
    ("function", "after"),
    [
        (plain, 1),
        (scoped, 2),
        (in_a_scope, 2),
        (decorated, 2),
        (through_functools, 1),
        (through_a_partial, 1),
        (through_a_context, 1),
    ],
)
def test_the_line_that_calls_the_layer(function, after):
    assert source(build(function)) == line_of(function, after)


def test_a_lambda_and_an_operator():
    def net(x):
        return (lambda y: y + 1.0)(x)

    assert source(build(net)) == line_of(net, 1)


def test_a_network_made_in_a_command_of_the_users():
    made = []

    @click.command()
    def command():
        made.append(cc.network(x="N,4,9,9")(plain)())

    CliRunner().invoke(command, [], catch_exceptions=False)
    assert source(made[0]) == line_of(plain, 1)
    assert made[0].inputs[0].origin.source == line_of(command.callback, 2)


def test_a_network_made_in_a_thread_or_by_the_library_alone():
    with ThreadPoolExecutor() as pool:
        graph = pool.submit(cc.network(x="N,4,9,9")(plain)).result()
    assert source(graph) == line_of(plain, 1)
    assert graph.inputs[0].origin.source == ""


def test_nobody_beyond_the_command_line_is_asked():
    there = {"__name__": "convc.__main__", "net": cc.network(x="N,4,9,9")(plain)}
    exec(compile("graph = net()", "__main__.py", "exec"), there)
    assert source(there["graph"]) == line_of(plain, 1)
    assert there["graph"].inputs[0].origin.source == ""


def test_the_zoo_s_files_are_read_as_the_users_are():
    assert source(cc.models.lenet5()).startswith("lenet.py:")


@pytest.mark.parametrize("folder", ["compiler", "compilers", "convc", "site-packages", "click", "contextlib.py"])
def test_the_users_file_lies_anywhere(folder, tmp_path):
    path = tmp_path / folder / "net.py"
    path.parent.mkdir()
    path.write_text('from convc import max_pool, network\n\n\n@network(x="N,1,7,7")\ndef tiny(x):\n    return max_pool(x, 3)\n')
    assert source(load(Request(f"{path}:tiny"), ZOO)) == "net.py:6"
    with pytest.raises(ShapeError, match=r"\(net\.py:6\): window 3 with stride 3"):
        load(Request(f"{path}:tiny", strict_windows=True), ZOO)


PROGRAM = "import convc as cc; print(cc.network(x='N,4')(lambda x: cc.relu(x))().outputs[0].origin.source)"


@pytest.mark.parametrize(("words", "typed", "line"), [(["-c", PROGRAM], "", "<string>:1"), (["-"], PROGRAM, "<stdin>:1")])
def test_what_is_no_file(words, typed, line):
    done = subprocess.run([sys.executable, *words], input=typed, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == line


def test_what_is_typed_at_python_s_new_prompt():
    from importlib.machinery import ModuleSpec

    there = {"__name__": "__main__", "__spec__": ModuleSpec("_pyrepl.__main__", None), "cc": cc}
    exec(compile("graph = cc.network(x='N,4')(lambda x: cc.relu(x))()", "<python-input-0>", "single"), there)
    assert source(there["graph"]) == "<python-input-0>:1"


@pytest.mark.parametrize(
    ("text", "word", "options"),
    [
        ("CONV-RELU-POOL", 1, {"pad": "valid", "kernel": 9}),
        ("POOL-CONV-RELU", 2, {"pad": "valid"}),
        ("[CONV-RELU-POOL]*3-SOFTMAX", 3, {}),
        ("[(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K,SOFTMAX", 3, {"N": 2, "M": 3, "K": 1}),
        ("[(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K,SOFTMAX", 4, {"N": 2, "M": 3, "K": 1, "pool": False, "hidden": 0}),
        ("[(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K,SOFTMAX", 6, {"N": 2, "M": 3, "K": 1, "pool": False, "classes": 0}),
        ("CONV-FC", 2, {"classes": 0}),
        ("FC-CONV", 2, {}),
    ],
)
def test_a_pattern_names_its_word(text, word, options):
    with pytest.raises(ConvcError, match=rf"pattern, word {word}\b"):
        cc.network(text, image="N,3,5,5", **options)()


def test_every_node_of_a_pattern_and_none_after_it():
    words = cc.network("CONV-RELU", image="N,3,5,5")

    def net(x):
        return cc.relu(words(x))

    graph = build(net)
    assert [node.origin.source for node in graph.ops] == ["pattern, word 1", "pattern, word 2", line_of(net, 1)]
    assert next(graph.params).origin.source == "pattern, word 1"


def test_a_complaint_stands_alone_where_no_line_is_the_users():
    alone = {"__name__": "convc.__main__", "cc": cc}
    exec("def call(x):\n    cc.concat(x)", alone)
    with pytest.raises(ShapeError, match=r"^concat takes values"):
        alone["call"](1)
    with pytest.raises(ShapeError, match=r"^test_user_line\.py:\d+: concat takes values"):
        cc.concat(1)
