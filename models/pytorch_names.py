"""The modules of the common PyTorch checkpoints (torchvision's state dicts) beside the layers of the zoo.

Those networks end in scores, ours in the softmax of the same scores. Where a network of the zoo is not the function those
weights were trained in, its entry says so and names the one that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from ..compiler.dsl.zoo_entry import Checkpoint, CheckpointRow, Differs
from .densenet import BLOCKS as DENSE_BLOCKS
from .efficientnet import MBConv
from .googlenet import STAGES
from .mobilenet import ROWS
from .mobilenet_v3 import Bneck
from .regnet import RegNet
from .resnet import BLOCKS
from .shufflenet import REPEATS
from .squeezenet import Stages
from .vgg import COLUMNS

__all__ = [
    "ALEXNET",
    "DENSENET121",
    "DIFFERS",
    "GOOGLENET",
    "INCEPTION_V3",
    "MOBILENET_V2",
    "SHUFFLENET_V2",
    "convnext",
    "efficientnet",
    "mobilenet_v3",
    "regnet",
    "resnet",
    "squeezenet",
    "vgg",
    "vit",
]

CLASSIFIER = tuple(CheckpointRow(f"classifier.{theirs}", ours) for theirs, ours in ((1, "fc6"), (4, "fc7"), (6, "fc8")))

# Same names, sometimes the same shapes, and another function.
DIFFERS = {
    "alexnet": Differs("theirs is the AlexNet of 2014, with fewer filters and without local response normalization; use alexnet_owt"),
    "googlenet": Differs("theirs has batch norm for local response normalization, and a 3x3 where this has a 5x5; use googlenet_bn"),
    **{
        f"resnet{depth}": Differs(
            f"theirs has the stride on the 3x3 of a bottleneck, this as published on the first 1x1; use resnet{depth}_v1_5"
        )
        for depth in (50, 101, 152)
    },
    "vgg11_lrn": Differs("theirs has no local response normalization; use vgg11"),
}

# Sequential counts every layer: conv 0, relu 1, pool 2, conv 3, relu 4, pool 5, conv 6, relu 7, conv 8, ...
ALEXNET = Checkpoint((*(CheckpointRow(f"features.{i}", f"conv{n}") for n, i in enumerate((0, 3, 6, 8, 10), start=1)), *CLASSIFIER))


def vgg(column: str, norm: bool = False) -> Checkpoint:
    """Theirs keep the biases of convolutions before a batch norm, in whose mean they vanish here."""
    return Checkpoint((*_vgg(column, norm), *(CheckpointRow(f"classifier.{i}", f"fc{n}") for n, i in ((6, 0), (7, 3), (8, 6)))))


def _vgg(column: str, norm: bool) -> Iterator[CheckpointRow]:
    index = 0
    for stage, words in enumerate(COLUMNS[column].split("|"), start=1):
        for layer, _ in enumerate(words.split(), start=1):
            conv = f"features.{index}"
            yield CheckpointRow(conv, f"conv{stage}_{layer}")
            if norm:
                yield CheckpointRow(f"features.{index + 1}", f"bn{stage}_{layer}", absorbs=conv)
            index += 3 if norm else 2
        index += 1  # the pool


def resnet(depth: int) -> Checkpoint:
    """conv2_1 is layer1.0; the projection is downsample."""
    return Checkpoint((CheckpointRow("conv1", "conv1"), CheckpointRow("bn1", "bn1"), *_resnet(depth), CheckpointRow("fc", "fc1")))


def _resnet(depth: int) -> Iterator[CheckpointRow]:
    for stage, blocks in enumerate(BLOCKS[depth], start=1):
        for index in range(blocks):
            theirs, ours = f"layer{stage}.{index}", f"conv{stage + 1}_{index + 1}"
            for layer in (1, 2) if depth < 50 else (1, 2, 3):
                yield CheckpointRow(f"{theirs}.conv{layer}", f"{ours}.conv{layer}")
                yield CheckpointRow(f"{theirs}.bn{layer}", f"{ours}.bn{layer}")
            if index == 0 and (stage > 1 or depth >= 50):
                yield CheckpointRow(f"{theirs}.downsample.0", f"{ours}.shortcut.conv1")
                yield CheckpointRow(f"{theirs}.downsample.1", f"{ours}.shortcut.bn1")


# The branches of theirs are numbered; the auxiliary heads are aux1 and aux2.
BRANCHES = {
    "branch1": "1x1",
    "branch2.0": "3x3_reduce",
    "branch2.1": "3x3",
    "branch3.0": "5x5_reduce",
    "branch3.1": "5x5",
    "branch4.1": "pool_proj",
}


def _googlenet() -> Iterator[CheckpointRow]:
    stem = {"conv1": "conv1", "conv2": "conv2_reduce", "conv3": "conv2"}
    modules = [name for stage in STAGES for name in stage]
    branches = {f"inception{name}.{theirs}": f"inception_{name}.{ours}" for name in modules for theirs, ours in BRANCHES.items()}
    for theirs, ours in {**stem, **branches}.items():
        yield CheckpointRow(f"{theirs}.conv", ours)
        yield CheckpointRow(f"{theirs}.bn", f"{ours}_bn")


GOOGLENET = Checkpoint((*_googlenet(), CheckpointRow("fc", "fc1")), ignored=("aux1.", "aux2."))


# Units of each module, by the last figure of its name and letter; ours are the same in lower case.
FACTORIZED = ("branch1x1", "branch5x5_1", "branch5x5_2", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3", "branch_pool")
REDUCTION = ("branch3x3", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
FACTORIZED_N = ("branch1x1", *(f"branch7x7_{i}" for i in (1, 2, 3)), *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)), "branch_pool")
REDUCTION_N = ("branch3x3_1", "branch3x3_2", *(f"branch7x7x3_{i}" for i in (1, 2, 3, 4)))
WIDENED = (
    *("branch1x1", "branch3x3_1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_1", "branch3x3dbl_2"),
    *("branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool"),
)
MODULES = {
    **dict.fromkeys(("5b", "5c", "5d"), FACTORIZED),
    "6a": REDUCTION,
    **dict.fromkeys(("6b", "6c", "6d", "6e"), FACTORIZED_N),
    "7a": REDUCTION_N,
    **dict.fromkeys(("7b", "7c"), WIDENED),
}
STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")


def _inception() -> Iterator[CheckpointRow]:
    for unit in (*STEM, *(f"Mixed_{module}.{unit}" for module, units in MODULES.items() for unit in units)):
        yield CheckpointRow(f"{unit}.conv", f"{unit.lower()}.conv1")
        yield CheckpointRow(f"{unit}.bn", f"{unit.lower()}.bn1")


INCEPTION_V3 = Checkpoint((*_inception(), CheckpointRow("fc", "fc1")), ignored=("AuxLogits.",))


def squeezenet(stages: Stages) -> Checkpoint:
    """conv 0 and relu 1 first, then each pool and each fire module counts one."""
    rows = [CheckpointRow("features.0", "conv1")]
    index = 2
    for stage in stages:
        for name in stage:
            index += 1
            rows += [CheckpointRow(f"features.{index}.{part}", f"{name}.{part}") for part in ("squeeze", "expand1x1", "expand3x3")]
        index += 1  # the next stage's pool
    return Checkpoint((*rows, CheckpointRow("classifier.1", "conv10")))


def _mobilenet() -> Iterator[CheckpointRow]:
    yield from _normed("features.0.0", "features.0.1", "conv1")
    blocks = [(stage, i, row.expand) for stage, row in enumerate(ROWS, start=1) for i in range(1, row.blocks + 1)]
    for number, (stage, i, expand) in enumerate(blocks, start=1):
        theirs, ours = f"features.{number}.conv", f"bottleneck{stage}_{i}"
        parts = ("expand", "depthwise") if expand > 1 else ("depthwise",)
        for part, name in enumerate(parts):
            yield from _normed(f"{theirs}.{part}.0", f"{theirs}.{part}.1", f"{ours}.{name}")
        yield from _normed(f"{theirs}.{len(parts)}", f"{theirs}.{len(parts) + 1}", f"{ours}.project")
    yield from _normed(f"features.{len(blocks) + 1}.0", f"features.{len(blocks) + 1}.1", "conv2")
    yield CheckpointRow("classifier.1", "fc1")


def _normed(conv: str, norm: str, ours: str) -> Iterator[CheckpointRow]:
    yield CheckpointRow(conv, ours)
    yield CheckpointRow(norm, f"{ours}_bn")


MOBILENET_V2 = Checkpoint(tuple(_mobilenet()))


def mobilenet_v3(rows: Sequence[Bneck]) -> Checkpoint:
    return Checkpoint(tuple(_mobilenet_v3(rows)))


def _mobilenet_v3(rows: Sequence[Bneck]) -> Iterator[CheckpointRow]:
    """A block counts its parts: what it does not have, it does not count."""
    yield from _normed("features.0.0", "features.0.1", "conv1")
    for number, (row, width) in enumerate(zip(rows, (16, *(row.width for row in rows)), strict=False), start=1):
        has = {"expand": row.expand != width, "depthwise": True, "": row.excites, "project": True}
        parts = [name for name, is_there in has.items() if is_there]
        yield from _block(f"features.{number}.block", parts, f"bneck{number}")
    last = len(rows) + 1
    yield from _normed(f"features.{last}.0", f"features.{last}.1", "conv2")
    yield from (CheckpointRow("classifier.0", "fc1"), CheckpointRow("classifier.3", "fc2"))


def _block(theirs: str, parts: Sequence[str], ours: str) -> Iterator[CheckpointRow]:
    """Convolutions with their norms, and "" for squeeze-and-excitation."""
    for part, name in enumerate(parts):
        if name:
            yield from _normed(f"{theirs}.{part}.0", f"{theirs}.{part}.1", f"{ours}.{name}")
        else:
            yield from (CheckpointRow(f"{theirs}.{part}.fc{i}", f"{ours}.{step}") for i, step in ((1, "squeeze"), (2, "excite")))


def efficientnet(rows: Sequence[MBConv]) -> Checkpoint:
    return Checkpoint(tuple(_efficientnet(rows)))


def _efficientnet(rows: Sequence[MBConv]) -> Iterator[CheckpointRow]:
    yield from _normed("features.0.0", "features.0.1", "conv1")
    for stage, row in enumerate(rows, start=1):
        if row.fused:
            parts = ("fused", "project") if row.expand > 1 else ("fused",)
        else:
            parts = ("expand", "depthwise", "", "project") if row.expand > 1 else ("depthwise", "", "project")
        for index in range(row.blocks):
            yield from _block(f"features.{stage}.{index}.block", parts, f"block{stage}_{index + 1}")
    last = len(rows) + 1
    yield from _normed(f"features.{last}.0", f"features.{last}.1", "conv2")
    yield CheckpointRow("classifier.1", "fc1")


def regnet(net: RegNet) -> Checkpoint:
    return Checkpoint(tuple(_regnet(net)))


def _regnet(net: RegNet) -> Iterator[CheckpointRow]:
    yield from _normed("stem.0", "stem.1", "stem")
    for stage, depth in enumerate(net.depths, start=1):
        for index in range(depth):
            theirs, ours = f"trunk_output.block{stage}.block{stage}-{index}", f"block{stage}_{index + 1}"
            parts = {"proj": "shortcut"} if index == 0 else {}
            for part, name in {**parts, "f.a": "a", "f.b": "b", "f.c": "c"}.items():
                yield from _normed(f"{theirs}.{part}.0", f"{theirs}.{part}.1", f"{ours}.{name}")
            if net.excites:
                yield from (CheckpointRow(f"{theirs}.f.se.fc{i}", f"{ours}.{step}") for i, step in ((1, "squeeze"), (2, "excite")))
    yield CheckpointRow("fc", "fc1")


def convnext(depths: Sequence[int]) -> Checkpoint:
    """Stages and what lies between them count alike: features.0 is the stem."""
    return Checkpoint(tuple(_convnext(depths)), parameters=tuple(_layer_scales(depths)))


def _convnext(depths: Sequence[int]) -> Iterator[CheckpointRow]:
    yield from (CheckpointRow("features.0.0", "stem"), CheckpointRow("features.0.1", "stem_norm"))
    for stage, depth in enumerate(depths, start=1):
        if stage > 1:
            theirs = f"features.{2 * stage - 2}"
            yield from (CheckpointRow(f"{theirs}.0", f"down{stage}_norm"), CheckpointRow(f"{theirs}.1", f"down{stage}"))
        for index in range(depth):
            theirs, ours = f"features.{2 * stage - 1}.{index}.block", f"block{stage}_{index + 1}"
            yield from (CheckpointRow(f"{theirs}.{at}", f"{ours}.{name}") for at, name in CONVNEXT_BLOCK.items())
    yield from (CheckpointRow("classifier.0", "head_norm"), CheckpointRow("classifier.2", "fc1"))


CONVNEXT_BLOCK = {0: "depthwise", 2: "norm", 3: "expand", 5: "project"}


def _layer_scales(depths: Sequence[int]) -> Iterator[CheckpointRow]:
    for stage, depth in enumerate(depths, start=1):
        for index in range(depth):
            yield CheckpointRow(f"features.{2 * stage - 1}.{index}.layer_scale", f"block{stage}_{index + 1}.scale.scale")


def vit(layers: int) -> Checkpoint:
    return Checkpoint(tuple(_vit(layers)), parameters=tuple(_vit_parameters(layers)), older=((".linear_1.", ".0."), (".linear_2.", ".3.")))


VIT_BLOCK = {"ln_1": "norm1", "self_attention.out_proj": "attention.out", "ln_2": "norm2", "mlp.0": "expand", "mlp.3": "project"}


def _vit(layers: int) -> Iterator[CheckpointRow]:
    yield CheckpointRow("conv_proj", "patches")
    for index in range(layers):
        theirs = f"encoder.layers.encoder_layer_{index}"
        yield from (CheckpointRow(f"{theirs}.{module}", f"block{index + 1}.{name}") for module, name in VIT_BLOCK.items())
    yield from (CheckpointRow("encoder.ln", "norm"), CheckpointRow("heads.head", "fc1"))


def _vit_parameters(layers: int) -> Iterator[CheckpointRow]:
    yield CheckpointRow("class_token", "class_token.token")
    yield CheckpointRow("encoder.pos_embedding", "positions.places")
    for index in range(layers):
        theirs, ours = f"encoder.layers.encoder_layer_{index}.self_attention", f"block{index + 1}.attention.qkv"
        yield from (CheckpointRow(f"{theirs}.in_proj_weight", f"{ours}.w"), CheckpointRow(f"{theirs}.in_proj_bias", f"{ours}.b"))


def _shufflenet() -> Iterator[CheckpointRow]:
    yield from _normed("conv1.0", "conv1.1", "conv1")
    for stage, (repeats, _) in enumerate(REPEATS, start=2):
        for index in range(repeats):
            theirs, ours = f"stage{stage}.{index}", f"unit{stage}_{index + 1}"
            for at, name in ((0, "left_depthwise"), (2, "left")) if index == 0 else ():
                yield from _normed(f"{theirs}.branch1.{at}", f"{theirs}.branch1.{at + 1}", f"{ours}.{name}")
            for at, name in ((0, "reduce"), (3, "depthwise"), (5, "right")):
                yield from _normed(f"{theirs}.branch2.{at}", f"{theirs}.branch2.{at + 1}", f"{ours}.{name}")
    yield from _normed("conv5.0", "conv5.1", "conv5")
    yield CheckpointRow("fc", "fc1")


SHUFFLENET_V2 = Checkpoint(tuple(_shufflenet()))


def _densenet(depth: int) -> Iterator[CheckpointRow]:
    yield from (CheckpointRow("features.conv0", "conv1"), CheckpointRow("features.norm0", "bn1"))
    for block, layers in enumerate(DENSE_BLOCKS[depth], start=1):
        if block > 1:
            theirs, ours = f"features.transition{block - 1}", f"transition{block - 1}"
            yield from (CheckpointRow(f"{theirs}.norm", f"{ours}.bn1"), CheckpointRow(f"{theirs}.conv", f"{ours}.conv1"))
        for layer in range(1, layers + 1):
            theirs, ours = f"features.denseblock{block}.denselayer{layer}", f"block{block}_{layer}"
            yield from chain.from_iterable(
                (CheckpointRow(f"{theirs}.norm{i}", f"{ours}.bn{i}"), CheckpointRow(f"{theirs}.conv{i}", f"{ours}.conv{i}")) for i in (1, 2)
            )
    yield from (CheckpointRow("features.norm5", "bn2"), CheckpointRow("classifier", "fc1"))


# The files of 2017 have a point before the number: denselayer1.norm.1
OLDER = tuple((f".{part}.{i}.", f".{part}{i}.") for part in ("norm", "conv") for i in (1, 2))
DENSENET121 = Checkpoint(tuple(_densenet(121)), older=OLDER)
