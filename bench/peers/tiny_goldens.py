#!/usr/bin/env python3
"""Golden vectors of the integer engine: single operators, and wake words that keep state.

The int8 reference engine must equal TensorFlow Lite Micro's reference kernels bit by bit. This
program asks those kernels (and LiteRT's for f32) and writes down what they answer:

    FOLDER/operators.npz    one-operator models with inputs and outputs   -> crates/network/tests/golden
    FOLDER/wake_words.npz   four streaming networks, 64 steps each        -> crates/tiny/tests/golden

Peers:

    python3 -m venv peers
    peers/bin/pip install numpy tflite-micro ai-edge-litert pymicro-wakeword
    peers/bin/python bench/peers/tiny_goldens.py FOLDER

The files at hand were made with Python 3.11, numpy 2.4.6, tflite-micro 0.dev20261023182759,
ai-edge-litert 2.3.0, pymicro-wakeword 2.5.0, pymicro-features 2.0.2, flatbuffers 25.12.19 and
espeak-ng 1.51 (speech for the wake words; without it a sweep of tones takes its place).

operators.npz: `index_json` (UTF-8 bytes) lists {key, op, parameters, peer}; `<key>_model` is the
.tflite, `<key>_in0..` its inputs and `<key>_out0..` its outputs, both in the model's order.
Peer "tflite-micro" with integers means equal bits; "litert-ref" (f32) means 1e-5 relative.
wake_words.npz: see `wake_words`. The networks themselves are not part of it.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import flatbuffers
import numpy as np
from tflite_micro.python.tflite_micro import runtime as micro  # isort: skip (LiteRT first: crash)
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

SEED = 11

# --------------------------------------------------------------------------------------------
# One operator as a model


@dataclasses.dataclass
class Tensor:
    """A tensor of the model; with `data` it is a constant, without it the caller feeds it."""

    shape: Sequence[int]
    kind: str = "int8"
    scale: Any = None  # None: not quantised; a sequence: one scale per slice of `axis`
    zero: int = 0
    axis: int = 0
    data: np.ndarray | None = None


@dataclasses.dataclass
class Case:
    """One operator, and the inputs to run it on."""

    op: str
    inputs: list[Tensor | None]  # None: an optional input that is absent
    outputs: list[Tensor]
    options: dict[str, Any]
    parameters: dict[str, Any]
    feeds: list[np.ndarray]


OPTIONS = {  # operator -> options table, where the name does not follow from the operator's
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "PADV2": "PadV2Options",
    "SPLIT_V": "SplitVOptions",
}
WITHOUT_OPTIONS = {"PRELU", "RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH"}


def integers(values: Sequence[int], kind: str = "int32") -> Tensor:
    """A constant that tells the operator what to do: axes, paddings, sizes."""
    data = np.array(values, kind)
    return Tensor(data.shape, kind, data=data)


def tflite(case: Case) -> bytes:
    """The case as a .tflite file."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, case.op
    model.buffers = [schema.BufferT()]
    graph.tensors, graph.name = [], "main"

    def add(tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        t = schema.TensorT()
        t.name, t.shape, t.hasRank = f"t{len(graph.tensors)}", list(tensor.shape), True
        t.type = getattr(schema.TensorType, tensor.kind.upper())
        if tensor.scale is not None:
            q = t.quantization = schema.QuantizationParametersT()
            q.scale = [float(s) for s in np.atleast_1d(tensor.scale)]
            q.zeroPoint = [int(tensor.zero)] * len(q.scale)
            q.quantizedDimension = tensor.axis
        if tensor.data is not None:
            assert tensor.data.shape == tuple(tensor.shape) and tensor.data.dtype == tensor.kind
            t.buffer = len(model.buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
            model.buffers.append(buffer)
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    operator.inputs = [add(t) for t in case.inputs]
    operator.outputs = [add(t) for t in case.outputs]
    if case.op not in WITHOUT_OPTIONS:
        words = case.op.split("_")
        table = OPTIONS.get(case.op, "".join(w.capitalize() for w in words) + "Options")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
        operator.builtinOptions = getattr(schema, table + "T")()
        for name, value in case.options.items():
            assert hasattr(operator.builtinOptions, name), (case.op, name)
            setattr(operator.builtinOptions, name, value)
    code.builtinCode = getattr(schema.BuiltinOperator, case.op)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    fed = [i for i, t in zip(operator.inputs, case.inputs) if t is not None and t.data is None]
    graph.inputs, graph.outputs, graph.operators = fed, operator.outputs, [operator]
    model.subgraphs, model.operatorCodes = [graph], [code]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def by_micro(model: bytes, feeds: Sequence[np.ndarray], outputs: int) -> list[np.ndarray]:
    """What TensorFlow Lite Micro's reference kernels answer."""
    interpreter = micro.Interpreter.from_bytes(model, arena_size=1 << 20)
    for i, feed in enumerate(feeds):
        interpreter.set_input(feed, i)
    interpreter.invoke()
    return [interpreter.get_output(i).copy() for i in range(outputs)]


def by_litert(model: bytes, feeds: Sequence[np.ndarray], outputs: int) -> list[np.ndarray]:
    """What LiteRT's reference kernels answer."""
    interpreter = litert.Interpreter(
        model_content=model,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    for detail, feed in zip(interpreter.get_input_details(), feeds):
        interpreter.set_tensor(detail["index"], feed)
    interpreter.invoke()
    details = interpreter.get_output_details()
    assert len(details) == outputs
    return [interpreter.get_tensor(d["index"]).copy() for d in details]


# --------------------------------------------------------------------------------------------
# Numbers to feed


def spread(rng: np.random.Generator, low: float, high: float) -> float:
    """A scale between `low` and `high`, uniform in its logarithm, exact in f32."""
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def values(rng: np.random.Generator, shape: Sequence[int], kind: str) -> np.ndarray:
    """Random values over the whole range, both ends among them where there is room."""
    if kind == "float32":
        return rng.normal(0, 3, shape).astype("float32")
    info = np.iinfo(kind)
    low, high = (-(1 << 22), 1 << 22) if kind == "int32" else (info.min, info.max)
    data = rng.integers(low, high + 1, shape).astype(kind)
    if data.size >= 4:
        data.flat[rng.choice(data.size, 2, replace=False)] = (low, high)
    return data


def every_int8(shape: Sequence[int] = (1, 16, 16, 1)) -> np.ndarray:
    return np.arange(-128, 128).astype("int8").reshape(shape)


def tensor(rng, shape, kind="int8", scale=None, zero=None) -> Tensor:
    """An activation, quantised at random where the caller does not say how."""
    if kind in ("float32", "int32"):
        return Tensor(shape, kind)
    scale = spread(rng, 0.004, 0.2) if scale is None else float(np.float32(scale))
    zero = int(rng.integers(-128, 128)) if zero is None else zero
    return Tensor(shape, kind, scale, zero)


def like(t: Tensor, shape) -> Tensor:
    """Another tensor with the quantisation of `t`."""
    return Tensor(shape, t.kind, t.scale, t.zero)


def case(rng, op, inputs, outputs, options=None, feeds=None, **parameters) -> Case:
    fed = [t for t in inputs if t is not None and t.data is None]
    feeds = feeds or [values(rng, t.shape, t.kind) for t in fed]
    parameters["type"] = (fed or outputs)[0].kind
    return Case(op, inputs, outputs, options or {}, parameters, feeds)


ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
PADDINGS = {"SAME": 0, "VALID": 1}

# --------------------------------------------------------------------------------------------
# Where f32 and f64 part
#
# A multiplier comes from f32 scales, by f64 or by f32 arithmetic. The results are 2^-25 apart, which
# decides a rounding once in some 10^5 outputs; cases with a `note` sit on such outputs. The peer
# forms every multiplier in f64, and every clamp and f32 -> integer in f32. Its wheels up to
# 0.dev20261012203412 formed the multipliers of FULLY_CONNECTED (one scale), SUB, RELU, LEAKY_RELU
# and HARD_SWISH in f32: they differ from these vectors in those cases with a `note`, nowhere else.
# The helpers below choose inputs; they never make an output.

IN_F64 = "scales at which f32 and f64 arithmetic part; f64 counts"
IN_F32 = "scales at which f32 and f64 arithmetic part; f32 counts"


def quantize_multiplier(d: float) -> tuple[int, int]:
    q, shift = np.frexp(np.float64(d))
    m = int(np.floor(q * 2**31 + 0.5))
    return (m // 2, int(shift) + 1) if m == 2**31 else (m, int(shift))


def scaled(x: np.ndarray, d: float) -> np.ndarray:
    """x * d in fixed point, rounded twice."""
    m, shift = quantize_multiplier(d)
    p = (x.astype(np.int64) << max(shift, 0)) * m
    high = np.where(p >= 0, (p + (1 << 30)) >> 31, -((-p + (1 << 30) - 1) >> 31))
    e = max(-shift, 0)
    rest, half = high & ((1 << e) - 1), (((1 << e) - 1) >> 1) + (high < 0)
    return (high >> e) + (rest > half)


def parting_accumulators(a: float, b: float, limit: int) -> np.ndarray:
    """Accumulators whose int8 results differ between the multipliers `a` and `b`."""
    x = np.arange(-int(120 / a), int(120 / a))
    return x[scaled(x, a) != scaled(x, b)][:limit]


def parting_scales(rng, differ: Callable[[float, float, float], bool]) -> tuple[float, ...]:
    """Scales (two inputs, one output) for which `differ` holds."""
    while True:
        scales = spread(rng, 0.01, 0.1), spread(rng, 0.01, 0.1), spread(rng, 0.01, 0.1)
        if differ(*scales):
            return scales


# --------------------------------------------------------------------------------------------
# Convolutions and matrices


def window(size, kernel, stride, dilation, padding):
    """Output size along one axis."""
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else (size - reach) // stride + 1


REACH = {"RELU6": 4.0, "RELU_N1_TO_1": 1.0}  # typical sum, so that both ends of the clamp are met
CLAMPED = {"RELU": (0.05, -128), "RELU6": (8 / 255, -120), "RELU_N1_TO_1": (2.6 / 255, 3)}


def products(rng, kind, x, w_shape, channels, axis, depth, per_channel, multiplier, act,
             weight_zero=0):  # fmt: skip
    """Weights, bias and the output's quantisation for sums of `depth` products."""
    if kind == "float32":
        w = Tensor(w_shape, kind, data=(rng.normal(0, 1, w_shape) / np.sqrt(depth)).astype(kind))
        b = Tensor((channels,), kind, data=rng.normal(0, 1, channels).astype(kind))
        return w, b, lambda shape: Tensor(shape, kind)
    reach = 127 if multiplier is None else 1
    if multiplier is not None:
        x.zero = int(rng.integers(-9, 10))
    s_w = np.float32([spread(rng, 0.002, 0.02) for _ in range(channels if per_channel else 1)])
    data = rng.integers(-reach, reach + 1, w_shape).astype("int8")
    w = Tensor(w_shape, "int8", s_w, weight_zero, axis if per_channel else 0, data)
    typical = np.sqrt(depth) * 0.58 * reach * np.hypot(74, x.zero)
    if act in REACH:
        x.scale = float(np.float32(REACH[act] / (typical * s_w.mean())))
    b_data = rng.normal(0, typical / 2, channels).astype("int32")
    b = Tensor((channels,), "int32", np.float32(x.scale) * s_w, 0, 0, b_data)
    s_y = x.scale * s_w.mean() * (typical / 50 if multiplier is None else 1 / multiplier)

    def output(shape):
        scale, zero = CLAMPED.get(act, (s_y, int(rng.integers(-40, 40))))
        return Tensor(shape, "int8", float(np.float32(s_y if act == "RELU" else scale)), zero)

    return w, b, output


def conv_2d(rng, kind, x_shape, channels, kernel, stride=(1, 1), dilation=(1, 1), padding="SAME",
            act="NONE", per_channel=True, groups=1, bias="yes", multiplier=None):  # fmt: skip
    x = tensor(rng, x_shape, kind)
    n, h, w, c = x_shape
    depth = kernel[0] * kernel[1] * c // groups
    weights, b, output = products(rng, kind, x, (channels, *kernel, c // groups), channels, 0,
                                  depth, per_channel, multiplier, act)  # fmt: skip
    y = output((n, *(window(*a, padding) for a in zip((h, w), kernel, stride, dilation)),
                channels))  # fmt: skip
    inputs = [x, weights] + {"yes": [b], "absent": [None], "no": []}[bias]
    options = dict(padding=PADDINGS[padding], strideH=stride[0], strideW=stride[1],
                   dilationHFactor=dilation[0], dilationWFactor=dilation[1],
                   fusedActivationFunction=ACTIVATIONS[act])  # fmt: skip
    return case(rng, "CONV_2D", inputs, [y], options, kernel=kernel, stride=stride, padding=padding,
                dilation=dilation, activation=act, per_channel=per_channel, groups=groups,
                bias=bias, multiplier=multiplier)  # fmt: skip


def depthwise_conv_2d(rng, kind, x_shape, times, kernel, stride=(1, 1), dilation=(1, 1),
                      padding="SAME", act="NONE", per_channel=True, bias="yes",
                      multiplier=None):  # fmt: skip
    x = tensor(rng, x_shape, kind)
    n, h, w, c = x_shape
    depth = kernel[0] * kernel[1]
    weights, b, output = products(rng, kind, x, (1, *kernel, c * times), c * times, 3, depth,
                                  per_channel, multiplier, act)  # fmt: skip
    y = output((n, *(window(*a, padding) for a in zip((h, w), kernel, stride, dilation)),
                c * times))  # fmt: skip
    inputs = [x, weights] + {"yes": [b], "no": []}[bias]  # an absent one (-1) crashes the peer
    options = dict(padding=PADDINGS[padding], strideH=stride[0], strideW=stride[1],
                   dilationHFactor=dilation[0], dilationWFactor=dilation[1], depthMultiplier=times,
                   fusedActivationFunction=ACTIVATIONS[act])  # fmt: skip
    return case(rng, "DEPTHWISE_CONV_2D", inputs, [y], options, kernel=kernel, stride=stride,
                padding=padding, dilation=dilation, activation=act, depth_multiplier=times,
                per_channel=per_channel, bias=bias, multiplier=multiplier)  # fmt: skip


def fully_connected(rng, kind, x_shape, out, y_shape=None, act="NONE", per_channel=False,
                    keep=False, bias="yes", weight_zero=0, multiplier=None, depth=None):  # fmt: skip
    x = tensor(rng, x_shape, kind)
    depth = depth or x_shape[-1]
    weights, b, output = products(rng, kind, x, (out, depth), out, 0, depth, per_channel,
                                  multiplier, act, weight_zero)  # fmt: skip
    y = output(y_shape or (*x_shape[:-1], out))
    inputs = [x, weights] + {"yes": [b], "absent": [None]}[bias]
    options = dict(keepNumDims=keep, fusedActivationFunction=ACTIVATIONS[act])
    return case(rng, "FULLY_CONNECTED", inputs, [y], options, activation=act, bias=bias,
                per_channel=per_channel, keep_num_dims=keep, weight_zero_point=weight_zero,
                multiplier=multiplier)  # fmt: skip


def parting_products(rng, op: str) -> Case:
    """Biases at which f32(s_x * s_w) / s_y and s_x * s_w / s_y round apart; the weights are zero."""
    accumulators = np.array([], np.int64)
    while accumulators.size < 24:
        s_x, s_w, s_y = (np.float32(spread(rng, *r)) for r in ((0.01, 0.1), (0.002, 0.02), (3, 9)))
        f32, f64 = float(s_x * s_w) / float(s_y), float(s_x) * float(s_w) / float(s_y)
        accumulators = parting_accumulators(f32, f64, 24)
    b = Tensor((24,), "int32", s_x * s_w, data=accumulators.astype("int32"))
    if op == "FULLY_CONNECTED":
        w = Tensor((24, 1), "int8", s_w, data=np.zeros((24, 1), "int8"))
        return case(rng, op, [tensor(rng, (1, 1), scale=s_x), w, b],
                    [Tensor((1, 24), "int8", s_y, 0)], {}, note=IN_F64)  # fmt: skip
    w = Tensor((24, 1, 1, 1), "int8", s_w, data=np.zeros((24, 1, 1, 1), "int8"))
    options = dict(padding=0, strideH=1, strideW=1)
    return case(rng, op, [tensor(rng, (1, 1, 1, 1), scale=s_x), w, b],
                [Tensor((1, 1, 1, 24), "int8", s_y, 0)], options, note=IN_F64)  # fmt: skip


def sums_of_products(rng, kind: str) -> Iterator[Case]:
    x = (1, 7, 6, 4)
    yield conv_2d(rng, kind, x, 5, (3, 3))
    yield conv_2d(rng, kind, x, 4, (3, 3), (2, 2), act="RELU6")
    yield conv_2d(rng, kind, x, 3, (5, 3), (1, 2), padding="VALID", act="RELU")
    yield conv_2d(rng, kind, (2, 9, 8, 2), 3, (3, 3), dilation=(2, 2))
    yield conv_2d(rng, kind, (1, 9, 8, 2), 3, (3, 3), dilation=(2, 1), padding="VALID")
    yield conv_2d(rng, kind, x, 6, (3, 3), groups=2)
    yield depthwise_conv_2d(rng, kind, x, 1, (3, 3))
    yield depthwise_conv_2d(rng, kind, x, 2, (3, 3), (2, 2), act="RELU6")
    yield depthwise_conv_2d(rng, kind, (1, 9, 8, 2), 1, (3, 3), dilation=(2, 2))
    yield fully_connected(rng, kind, (1, 40), 9)
    yield fully_connected(rng, kind, (1, 2, 2, 8), 11, (1, 11), depth=32, act="RELU")
    yield fully_connected(rng, kind, (1, 3, 12), 7, keep=True, bias="absent")
    if kind == "float32":
        return
    yield conv_2d(rng, kind, x, 5, (1, 1), per_channel=False)
    yield conv_2d(rng, kind, x, 4, (3, 5), (2, 1), per_channel=False, act="RELU")
    yield conv_2d(rng, kind, x, 3, (1, 5), (3, 1), act="RELU_N1_TO_1")
    yield conv_2d(rng, kind, x, 3, (2, 2))
    yield conv_2d(rng, kind, (1, 8, 7, 2), 3, (3, 3), (3, 3))
    yield conv_2d(rng, kind, (1, 8, 7, 2), 3, (5, 5), (1, 3), padding="VALID")
    yield conv_2d(rng, kind, (1, 3, 2, 3), 3, (5, 5))
    yield conv_2d(rng, kind, (1, 10, 10, 2), 2, (3, 5), dilation=(1, 2))
    yield conv_2d(rng, kind, (1, 11, 7, 2), 2, (3, 3), (2, 2), dilation=(3, 2))
    yield conv_2d(rng, kind, x, 8, (3, 3), (2, 2), groups=4)
    yield conv_2d(rng, kind, x, 4, (1, 1), groups=2, per_channel=False)
    yield conv_2d(rng, kind, x, 4, (1, 1), multiplier=1.7)
    yield conv_2d(rng, kind, x, 4, (3, 3), bias="absent")
    yield conv_2d(rng, kind, x, 4, (3, 3), bias="no")
    yield depthwise_conv_2d(rng, kind, x, 4, (3, 3), padding="VALID")
    yield depthwise_conv_2d(rng, kind, (1, 10, 5, 1), 8, (5, 3), (2, 2), act="RELU")
    yield depthwise_conv_2d(rng, kind, x, 1, (1, 5), (3, 1))
    yield depthwise_conv_2d(rng, kind, x, 2, (5, 1), (1, 2), padding="VALID")
    yield depthwise_conv_2d(rng, kind, (1, 9, 9, 3), 2, (3, 3), dilation=(2, 2), padding="VALID")
    yield depthwise_conv_2d(rng, kind, (1, 9, 9, 2), 1, (3, 3), (2, 2), dilation=(2, 3))
    yield depthwise_conv_2d(rng, kind, x, 1, (3, 3), per_channel=False, act="RELU_N1_TO_1")
    yield depthwise_conv_2d(rng, kind, x, 1, (1, 1), multiplier=2.6)
    yield depthwise_conv_2d(rng, kind, x, 1, (2, 2), bias="no")
    yield fully_connected(rng, kind, (3, 21), 6, act="RELU6")
    yield fully_connected(rng, kind, (2, 21), 6, per_channel=True)
    yield fully_connected(rng, kind, (2, 21), 6, weight_zero=-7)
    yield fully_connected(rng, kind, (2, 3), 6, multiplier=1.3)
    yield fully_connected(rng, kind, (2, 2, 2, 6), 5, (4, 5), depth=12)
    yield parting_products(rng, "FULLY_CONNECTED")
    yield parting_products(rng, "CONV_2D")


# --------------------------------------------------------------------------------------------
# Two inputs


def binary(rng, op, kind, a_shape, b_shape, act="NONE", gain=1.0, constant=False, same=False):
    a, b = tensor(rng, a_shape, kind), tensor(rng, b_shape, kind)
    y = tensor(rng, np.broadcast_shapes(a_shape, b_shape), kind)
    parameters = dict(shapes=[a_shape, b_shape], constant=constant)
    if kind == "int8" and same:
        b.scale, b.zero, y.scale, y.zero = a.scale, a.zero, a.scale, a.zero
    elif kind == "int8" and act != "NONE":
        y.scale, y.zero = (CLAMPED[act][0], int(rng.integers(-60, 20)))
        a.scale, b.scale = y.scale * 0.8, 1 / 90 if op == "MUL" else y.scale * 0.3
        a.zero, b.zero = (int(z) for z in rng.integers(-40, 40, 2))
    elif kind == "int8":  # the output's range: 60 % of what can occur, less with a larger gain
        ends = [t.scale * (np.array([-128, 127]) - t.zero) for t in (a, b)]
        results = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}[op].outer(*ends)
        y.scale = 0.6 * np.ptp(results) / 255 / gain
        y.zero = int(np.clip(np.round(-results.mean() / y.scale), -128, 127))
        parameters["gain"] = gain
    for t in (a, b, y):
        t.scale = t.scale and float(np.float32(t.scale))
    if constant:
        b.data = values(rng, b_shape, kind)
    options = {}
    if op in ("ADD", "SUB", "MUL"):
        options["fusedActivationFunction"] = ACTIVATIONS[act]
        parameters["activation"] = act
    return case(rng, op, [a, b], [y], options, **parameters)


def parting_sub(rng, op: str) -> Case:
    """SUB forms its three multipliers in f32, ADD in f64: scales at which that shows."""
    a, b = every_int8(), values(rng, (1, 16, 16, 1), "int8")
    sign = 1 if op == "ADD" else -1

    def result(s1, s2, s_y, real):
        twice = 2 * max(real(s1), real(s2))
        half1, half2 = float(real(s1) / twice), float(real(s2) / twice)
        whole = float(twice / (real(2**20) * real(s_y)))
        rescaled = [scaled(x.astype(np.int64) << 20, h) for x, h in ((a, half1), (b, half2))]
        return np.clip(scaled(rescaled[0] + sign * rescaled[1], whole), -128, 127)

    s1, s2, s_y = parting_scales(
        rng, lambda *s: (result(*s, np.float32) != result(*s, np.float64)).any()
    )
    tensors = [Tensor(a.shape, "int8", s, 0) for s in (s1, s2, s_y)]
    return case(rng, op, tensors[:2], tensors[2:], {}, [a, b],
                note=IN_F64)  # fmt: skip


def pairs(rng, kind: str) -> Iterator[Case]:
    x = (1, 4, 5, 3)
    for op in ("ADD", "SUB", "MUL"):
        yield binary(rng, op, kind, x, x, "RELU6")
        yield binary(rng, op, kind, x, (3,))
        yield binary(rng, op, kind, (2, 1, 3), (1, 4, 3), "RELU")
        if kind == "float32":
            continue
        yield binary(rng, op, kind, x, x)
        yield binary(rng, op, kind, x, (1, 4, 1, 1))
        yield binary(rng, op, kind, (1, 1, 1, 3), (2, 4, 5, 3), gain=2)
        yield binary(rng, op, kind, (1, 5, 1), (2, 4, 1, 3), "RELU_N1_TO_1")
        yield binary(rng, op, kind, x, (1,), constant=True, gain=0.6)
        yield binary(rng, op, kind, (), x, gain=0.6)
    for op in ("MAXIMUM", "MINIMUM"):
        yield binary(rng, op, kind, x, x, same=True)
        yield binary(rng, op, kind, x, (5, 1), same=True)
        if kind == "int8":
            yield binary(rng, op, kind, (1,), x, same=True, constant=True)
            yield binary(rng, op, kind, (2, 1, 3), (1, 4, 1), same=True)
    if kind == "int8":
        tensors = [Tensor(x, "int8", np.float32(v), z) for v, z in ((0.9, 2), (0.8, -5), (0.5, 9))]
        small = [rng.integers(-12, 13, x).astype("int8") for _ in "ab"]  # multiplier above one
        yield case(rng, "MUL", tensors[:2], tensors[2:], {}, small, multiplier=0.9 * 0.8 / 0.5)
        yield parting_sub(rng, "SUB")
        yield parting_sub(rng, "ADD")


# --------------------------------------------------------------------------------------------
# Windows and axes


def pool(rng, op, kind, x_shape, kernel, stride, padding, act="NONE"):
    x = tensor(rng, x_shape, kind)
    if act != "NONE" and kind == "int8":
        x.scale = float(np.float32(1.1 * CLAMPED[act][0]))
        x.zero = int(rng.integers(30, 60) if act == "RELU_N1_TO_1" else rng.integers(-60, 20))
    n, h, w, c = x_shape
    y = like(x, (n, *(window(*a, 1, padding) for a in zip((h, w), kernel, stride)), c))
    options = dict(padding=PADDINGS[padding], strideH=stride[0], strideW=stride[1],
                   filterHeight=kernel[0], filterWidth=kernel[1],
                   fusedActivationFunction=ACTIVATIONS[act])  # fmt: skip
    return case(rng, op, [x], [y], options, kernel=kernel, stride=stride, padding=padding,
                activation=act)  # fmt: skip


def mean(rng, kind, x_shape, axes, keep, ratio=None, zeros=None):
    """`ratio`: s_x / s_y; `zeros`: the two zero points."""
    x = tensor(rng, x_shape, kind, zero=zeros[0] if zeros else int(rng.integers(-30, 30)))
    centre = rng.uniform(-90, 90, np.zeros(x_shape).mean(tuple(axes), keepdims=True).shape)
    feed = rng.normal(centre, 60, x_shape).clip(-128, 127).round().astype("int8")
    shape = feed.mean(tuple(axes), keepdims=keep).shape
    s_y = x.scale / (ratio or 0.9) if kind == "int8" else None
    y = tensor(rng, shape, kind, s_y, zeros[1] if zeros else int(rng.integers(-30, 30)))
    return case(rng, "MEAN", [x, integers(axes)], [y], dict(keepDims=keep),
                [feed] if kind == "int8" else None, axes=axes, keep_dims=keep, ratio=ratio)  # fmt: skip


def reductions(rng, kind: str) -> Iterator[Case]:
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        yield pool(rng, op, kind, (1, 7, 6, 3), (3, 3), (1, 1), "SAME")
        yield pool(rng, op, kind, (1, 7, 6, 3), (2, 2), (2, 2), "VALID", "RELU6")
        if kind == "float32":
            continue
        yield pool(rng, op, kind, (2, 8, 5, 3), (4, 3), (3, 2), "SAME", "RELU")
        yield pool(rng, op, kind, (1, 7, 6, 3), (3, 2), (2, 1), "SAME", "RELU_N1_TO_1")
        yield pool(rng, op, kind, (1, 7, 6, 5), (7, 6), (1, 1), "VALID")
        yield pool(rng, op, kind, (1, 3, 2, 3), (5, 5), (2, 2), "SAME")
    for act, top, k in (("RELU6", 6, 51), ("RELU6", 6, 77), ("RELU_N1_TO_1", 1, 76)):
        if kind == "int8":  # top / s is a tie in f32 only
            s = Tensor((1, 16, 16, 1), kind, np.float32(top / (k + 0.5)), 0)
            options = dict(padding=1, strideH=1, strideW=1, filterHeight=1, filterWidth=1,
                           fusedActivationFunction=ACTIVATIONS[act])  # fmt: skip
            yield case(rng, "MAX_POOL_2D", [s], [s], options, [every_int8()], activation=act,
                       kernel=(1, 1), note=IN_F32)  # fmt: skip
    yield mean(rng, kind, (2, 5, 4, 3), [1, 2], True)
    yield mean(rng, kind, (2, 5, 4, 3), [2], False)
    yield mean(rng, kind, (3, 5, 4), [0, 2], False)
    if kind == "int8":
        yield mean(rng, kind, (1, 5, 4, 3), [2, 1], False)
        yield mean(rng, kind, (1, 5, 4, 3), [1, 2, 3], True)
        yield mean(rng, kind, (1, 5, 4, 33), [-1], False)
        yield mean(rng, kind, (2, 5, 4, 3), [0], True)
        yield mean(rng, kind, (6, 17), [1], True)
        yield mean(rng, kind, (1, 7, 9), [1], True, ratio=3.7)
        yield mean(rng, kind, (2, 3, 4, 5), [1, -1], False, ratio=0.9)
        yield mean(rng, kind, (1, 31, 31, 2), [1, 2], True)
        yield mean(rng, kind, (1, 6, 6, 24), [1, 2], False, ratio=0.7, zeros=(-128, -128))


# --------------------------------------------------------------------------------------------
# One value to one value


def unary(rng, op, s_x, z_x, s_y, z_y, shape=(1, 16, 16, 1), options=None, **parameters):
    x, y = Tensor(shape, "int8", s_x, z_x), Tensor(shape, "int8", s_y, z_y)
    for t in (x, y):
        t.scale = float(np.float32(t.scale))
    return case(rng, op, [x], [y], options, [every_int8(shape)], **parameters)


def parting_relu(rng, op: str, alpha=1.0) -> Case:
    """RELU and LEAKY_RELU form their multipliers in f32: scales at which that shows."""
    x = np.arange(-128, 0) if op == "LEAKY_RELU" else np.arange(128)
    s_x, _, s_y = parting_scales(rng, lambda s_x, _, s_y: (
        scaled(x, float(np.float32(s_x) * np.float32(alpha) / np.float32(s_y)))
        != scaled(x, float(s_x) * float(np.float32(alpha)) / float(s_y))).any())  # fmt: skip
    options = dict(alpha=alpha) if op == "LEAKY_RELU" else {}
    return unary(rng, op, s_x, 0, s_y, 0, options=options, alpha=alpha,
                 note=IN_F64)  # fmt: skip


def prelu(rng, kind, x_shape, alpha_shape):
    x, alpha, y = (tensor(rng, s, kind) for s in (x_shape, alpha_shape, x_shape))
    alpha.data = values(rng, alpha_shape, kind)
    if kind == "int8":
        alpha.scale, y.scale = float(np.float32(1.3 / 255)), float(np.float32(x.scale * 0.8))
    return case(rng, "PRELU", [x, alpha], [y], alpha_shape=alpha_shape)


def softmax(rng, kind, shape, beta, scale=None):
    x = tensor(rng, shape, kind, scale)
    y = Tensor(shape, kind) if kind == "float32" else Tensor(shape, kind, 1 / 256, -128)
    return case(rng, "SOFTMAX", [x], [y], dict(beta=beta), beta=beta)


def pointwise(rng, kind: str) -> Iterator[Case]:
    yield prelu(rng, kind, (1, 6, 5, 4), (1, 1, 4))
    yield prelu(rng, kind, (1, 3, 4, 4), (1, 3, 4, 4))
    yield softmax(rng, kind, (2, 9), 1.0)
    yield softmax(rng, kind, (1, 3, 2, 5), 0.7)
    if kind == "float32":
        for op in ("RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH"):
            yield case(rng, op, [tensor(rng, (1, 5, 5, 3), kind)], [tensor(rng, (1, 5, 5, 3), kind)])
        yield case(rng, "LEAKY_RELU", [tensor(rng, (4, 9), kind)], [tensor(rng, (4, 9), kind)],
                   dict(alpha=0.13), alpha=0.13)  # fmt: skip
        return
    yield prelu(rng, kind, (2, 7, 3), (1,))
    yield softmax(rng, kind, (1, 12), 1.0, 0.004)
    yield softmax(rng, kind, (3, 40), 1.0, 0.9)
    yield softmax(rng, kind, (5, 1), 1.0)
    yield softmax(rng, kind, (2, 100), 0.05, 0.2)
    yield softmax(rng, kind, (4, 3), 25.0, 0.05)
    for s_x, z_x, s_y, z_y in ((0.05, -3, 0.05, -3), (0.0311, 17, 0.05, -128), (0.02, -128, 0.06, 5),
                               (0.13, 100, 0.011, -40), (0.06, 90, 0.08, -90)):  # fmt: skip
        yield unary(rng, "RELU", s_x, z_x, s_y, z_y)
    for s_x, z_x in ((0.03, -100), (0.05, -20), (0.02, 0), (0.2, 60)):
        yield unary(rng, "RELU6", s_x, z_x, s_x, z_x)
    for alpha, s_x, z_x, s_y, z_y in ((0.1, 0.05, 9, 0.05, 9), (0.3, 0.07, -30, 0.03, 50),
                                      (1.5, 0.02, 60, 0.05, -11), (-0.2, 0.05, 20, 0.04, -60)):  # fmt: skip
        yield unary(rng, "LEAKY_RELU", s_x, z_x, s_y, z_y, options=dict(alpha=alpha), alpha=alpha)
    for k in (51, 77):  # 6 / s is a tie in f32 only: the clamp of RELU6
        s = np.float32(6 / (k + 0.5))
        yield unary(rng, "RELU6", s, 0, s, 0, note=IN_F32)
    yield parting_relu(rng, "RELU")
    yield parting_relu(rng, "LEAKY_RELU", 0.1)
    for s_x, z_x, s_y, z_y in ((0.05, 0, 0.03, -90), (0.013, 40, 0.02, -3), (0.11, -128, 0.09, -124),
                               (0.03, 127, 0.03, 100)):  # fmt: skip
        yield unary(rng, "HARD_SWISH", s_x, z_x, s_y, z_y)
    for s_x, s_y in ((0.0384632870554924, 0.02989977039396763), (0.0682729035615921, 0.06346751749515533)):
        yield unary(rng, "HARD_SWISH", s_x, 0, s_y, -60, note=IN_F64)
    for s_x, z_x in ((0.0947, 36), (0.011, -77), (0.3, 5), (0.049, -128), (0.125, 0), (0.063, 127)):
        yield unary(rng, "LOGISTIC", s_x, z_x, 1 / 256, -128)
        yield unary(rng, "TANH", s_x, z_x, 1 / 128, 0)


def requantisations(rng, _: str) -> Iterator[Case]:
    def quantize(from_kind, s_x, z_x, to_kind, s_y, z_y, feed=None):
        shape = (1, 8, 8, 4)
        x = Tensor(shape, from_kind, None if from_kind == "float32" else np.float32(s_x), z_x)
        y = Tensor(shape, to_kind, np.float32(s_y), z_y)
        if feed is None:
            feed = every_int8(shape) if from_kind == "int8" else values(rng, shape, from_kind)
        return case(rng, "QUANTIZE", [x], [y], {}, [feed], to=to_kind)

    ties = (np.arange(-128, 128) + 0.5) * 0.0625  # exactly between two codes
    real = np.concatenate([ties[::2], [1e6, -1e6, 7.96875, -8.03125], rng.normal(0, 6, 124)])
    yield quantize("float32", 0, 0, "int8", 0.0625, 3, real.astype("float32").reshape(1, 8, 8, 4))
    yield quantize("float32", 0, 0, "int8", 0.0478, -101)
    yield quantize("float32", 0, 0, "int16", 0.0004, 0)
    real = np.concatenate([[6, -6, 3, 1.5], rng.normal(0, 3, 252)]).astype("float32")
    tie = quantize("float32", 0, 0, "int8", 6 / 51.5, 0, real.reshape(1, 8, 8, 4))
    tie.parameters["note"] = IN_F32  # 6 / scale
    yield tie
    yield quantize("int8", 0.04, 5, "int8", 0.04, -20)
    yield quantize("int8", 0.04, 5, "int8", 0.017, -20)
    yield quantize("int8", 0.0313, -128, "int8", 0.0911, 77)
    yield quantize("int8", 1 / 256, -128, "uint8", 1 / 256, 0)
    yield quantize("int8", 0.05, 4, "uint8", 0.05, 120)
    yield quantize("int8", 0.05, -30, "uint8", 0.031, 99)
    yield quantize("int8", 0.05, -30, "int16", 0.0007, 0)
    yield quantize("int8", 0.05, -30, "int32", 0.000003, 0)
    yield quantize("uint8", 0.02, 128, "int8", 0.02, 0)
    yield quantize("uint8", 0.02, 100, "int8", 0.033, -7)
    yield quantize("int16", 0.0003, 0, "int8", 0.061, 12)
    yield quantize("int16", 0.0003, 0, "int16", 0.0005, 0)
    yield quantize("int16", 0.0003, 0, "int32", 0.00001, 0)
    yield quantize("int32", 0.000002, 0, "int8", 0.061, 12)
    yield quantize("int32", 0.000002, 0, "int16", 0.0002, 0)
    for kind, scale, zero in (("int8", 0.0371, -17), ("uint8", 0.011, 130), ("int16", 0.0007, 0)):
        x = Tensor((1, 8, 8, 4), kind, np.float32(scale), zero)
        feed = every_int8((1, 8, 8, 4)) if kind == "int8" else values(rng, x.shape, kind)
        yield case(rng, "DEQUANTIZE", [x], [Tensor(x.shape, "float32")], {}, [feed])


# --------------------------------------------------------------------------------------------
# Copies


def pad(rng, kind, x_shape, paddings, value=None):
    x = tensor(rng, x_shape, kind)
    y = like(x, [n + before + after for n, (before, after) in zip(x_shape, paddings)])
    inputs = [x, integers(paddings)]
    if value is not None:
        inputs.append(dataclasses.replace(like(x, (1,)), data=np.array([value], kind)))
    return case(rng, "PAD" if value is None else "PADV2", inputs, [y], paddings=paddings,
                value=value)  # fmt: skip


def strided_slice(rng, kind, x_shape, begin, end, strides, masks=(0, 0, 0)):
    """`masks`: begin, end and shrink, as the format's bit sets."""
    begin_mask, end_mask, shrink_mask = masks
    at = []
    for i in range(len(x_shape)):
        if shrink_mask >> i & 1:
            at.append(begin[i])
            continue
        first = None if begin_mask >> i & 1 else begin[i]
        last = None if end_mask >> i & 1 else end[i]
        at.append(slice(first, last, strides[i]))
    x = tensor(rng, x_shape, kind)
    y = like(x, np.zeros(x_shape)[tuple(at)].shape)
    options = dict(beginMask=begin_mask, endMask=end_mask, shrinkAxisMask=shrink_mask)
    return case(rng, "STRIDED_SLICE", [x, integers(begin), integers(end), integers(strides)], [y],
                options, begin=begin, end=end, strides=strides, masks=masks)  # fmt: skip


def concatenation(rng, kind, shapes, axis):
    y_shape = np.concatenate([np.zeros(s) for s in shapes], axis).shape
    y = tensor(rng, y_shape, kind)
    return case(rng, "CONCATENATION", [like(y, s) for s in shapes], [y], dict(axis=axis), axis=axis)


def transpose(rng, kind, x_shape, perm):
    x = tensor(rng, x_shape, kind)
    y = like(x, [x_shape[p] for p in perm])
    return case(rng, "TRANSPOSE", [x, integers(perm)], [y], perm=perm)


def resize(rng, op, kind, x_shape, size, align=False, half=False):
    x = tensor(rng, x_shape, kind)
    y = like(x, (x_shape[0], *size, x_shape[3]))
    return case(rng, op, [x, integers(size)], [y], dict(alignCorners=align, halfPixelCenters=half),
                size=size, align_corners=align, half_pixel_centers=half)  # fmt: skip


def copies(rng, kind: str) -> Iterator[Case]:
    x = (1, 4, 5, 3)
    yield pad(rng, kind, x, [(0, 0), (1, 2), (0, 3), (0, 0)])
    yield pad(rng, kind, (3, 4), [(2, 0), (1, 1)])
    yield strided_slice(rng, kind, x, [0, 1, 4, 0], [1, 4, 0, 3], [1, 2, -1, 1])
    yield strided_slice(rng, kind, x, [0, -2, 0, 2], [0, 0, 9, 0], [1, 1, 3, 1],
                        (0b0101, 0b0011, 0b1000))  # fmt: skip
    yield concatenation(rng, kind, [(1, 2, 3), (1, 5, 3)], 1)
    yield concatenation(rng, kind, [(2, 3, 1), (2, 3, 4), (2, 3, 2)], -1)
    yield transpose(rng, kind, (2, 3, 4, 5), [0, 3, 1, 2])
    yield transpose(rng, kind, (3, 4, 5), [2, 0, 1])
    yield resize(rng, "RESIZE_NEAREST_NEIGHBOR", kind, x, (7, 4))
    yield resize(rng, "RESIZE_NEAREST_NEIGHBOR", kind, x, (9, 3), half=True)
    if kind == "float32":
        return
    yield pad(rng, kind, (2, 3, 4), [(0, 1), (2, 0), (1, 3)])
    yield pad(rng, kind, (1, 3, 3, 2), [(1, 0), (1, 1), (0, 2), (2, 1)])
    yield pad(rng, kind, x, [(0, 0), (1, 2), (2, 1), (0, 0)], -128)
    yield pad(rng, kind, (1, 3, 2, 4), [(0, 0), (0, 0), (0, 1), (3, 0)], 55)
    yield strided_slice(rng, kind, (9, 7), [8, 5], [0, -8], [-3, -2])
    yield strided_slice(rng, kind, (9, 7), [3, 0], [0, 0], [-1, -1], (0b10, 0b11, 0))
    yield strided_slice(rng, kind, (6, 5, 4), [-1, 1, 0], [0, 5, 4], [1, 2, 3], (0, 0, 0b001))
    yield strided_slice(rng, kind, (6, 5, 4), [2, -3, 1], [3, 0, 0], [1, 1, 1], (0, 0, 0b111))
    yield strided_slice(rng, kind, (10,), [-100], [100], [4])
    yield strided_slice(rng, kind, (1, 9, 1, 8), [0, -5, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1],
                        (0b1101, 0b1111, 0))  # fmt: skip
    yield strided_slice(rng, kind, (5, 6, 2, 3), [1, -2, 0, 2], [-1, 0, 2, 0], [2, -3, 1, -1],
                        (0, 0b1000, 0))  # fmt: skip
    for shape, begin, size in (((4, 5, 3), [1, 0, 2], [2, 5, 1]), ((1, 6, 5, 3), [0, 2, 1, 0], [-1, 3, -1, 2]),
                               ((9,), [3], [-1]), ((2, 3, 2, 3, 2), [1, 0, 0, 1, 0], [1, 2, 2, 2, -1])):  # fmt: skip
        t = tensor(rng, shape, kind)
        full = [n - b if s < 0 else s for n, b, s in zip(shape, begin, size)]
        yield case(rng, "SLICE", [t, integers(begin), integers(size)], [like(t, full)], begin=begin,
                   size=size)  # fmt: skip
    for shape, axis, parts in (((1, 4, 5, 6), 3, 3), ((4, 6), 0, 2), ((2, 3, 4), -2, 3)):
        t = tensor(rng, shape, kind)
        part = list(shape)
        part[axis] //= parts
        yield case(rng, "SPLIT", [integers(axis), t], [like(t, part) for _ in range(parts)],
                   dict(numSplits=parts), axis=axis, parts=parts)  # fmt: skip
    for shape, axis, sizes in (((1, 9, 1, 8), -1, [4, 4]), ((3, 9), 1, [2, -1, 3]), ((7, 2, 3), 0, [-1, 5])):
        t = tensor(rng, shape, kind)
        parts = []
        for size in sizes:
            parts.append(list(shape))
            parts[-1][axis] = shape[axis] - sum(s for s in sizes if s > 0) if size < 0 else size
        yield case(rng, "SPLIT_V", [t, integers(sizes), integers(axis)], [like(t, p) for p in parts],
                   dict(numSplits=len(sizes)), axis=axis, sizes=sizes)  # fmt: skip
    for shape, axis, count in (((4, 5), 0, 3), ((2, 3, 4), 2, 2), ((2, 3), -1, 4)):
        t = tensor(rng, shape, kind)
        whole = list(shape)
        whole.insert(axis % (len(shape) + 1), count)
        yield case(rng, "PACK", [like(t, shape) for _ in range(count)], [like(t, whole)],
                   dict(valuesCount=count, axis=axis), axis=axis)  # fmt: skip
        yield case(rng, "UNPACK", [like(t, whole)], [like(t, shape) for _ in range(count)],
                   dict(num=count, axis=axis), axis=axis)  # fmt: skip
    yield concatenation(rng, kind, [(1, 3, 2), (2, 3, 2)], 0)
    yield concatenation(rng, kind, [(1, 2, 3, 2), (1, 2, 1, 2), (1, 2, 4, 2), (1, 2, 2, 2)], 2)
    yield concatenation(rng, kind, [(1, 12, 1, 8), (1, 1, 1, 8)], 1)
    yield transpose(rng, kind, (5, 7), [1, 0])
    yield transpose(rng, kind, (2, 3, 4, 5), [3, 1, 0, 2])
    yield transpose(rng, kind, (1, 6, 4, 3), [0, 2, 1, 3])
    yield transpose(rng, kind, (2, 3, 2, 3, 2), [4, 2, 0, 1, 3])
    for shape, to in (((1, 4, 5, 3), (4, 15)), ((6, 4), (1, 2, 3, 4)), ((24,), (2, 3, 4))):
        t = tensor(rng, shape, kind)
        yield case(rng, "RESHAPE", [t, integers(to)], [like(t, to)], dict(newShape=list(to)), to=to)
    t = tensor(rng, (1, 6, 4), kind)
    yield case(rng, "RESHAPE", [t, integers([-1, 8])], [like(t, (3, 8))], dict(newShape=[-1, 8]), to=[-1, 8])
    for shape, axes, to in (((1, 5, 1, 4), [0, 2], (5, 4)), ((1, 5, 1, 4), [-2], (1, 5, 4)), ((1, 7, 1, 1), [], (7,))):
        t = tensor(rng, shape, kind)
        yield case(rng, "SQUEEZE", [t], [like(t, to)], dict(squeezeDims=axes), axes=axes)
    for shape, axis, to in (((4, 5), 0, (1, 4, 5)), ((4, 5), -1, (4, 5, 1)), ((2, 3, 4), 2, (2, 3, 1, 4))):
        t = tensor(rng, shape, kind)
        yield case(rng, "EXPAND_DIMS", [t, integers([axis])], [like(t, to)], axis=axis)
    yield resize(rng, "RESIZE_NEAREST_NEIGHBOR", kind, x, (8, 9), align=True)
    yield resize(rng, "RESIZE_NEAREST_NEIGHBOR", kind, x, (3, 2), align=True)
    yield resize(rng, "RESIZE_NEAREST_NEIGHBOR", kind, (2, 6, 7, 2), (11, 13), align=True, half=True)
    yield resize(rng, "RESIZE_NEAREST_NEIGHBOR", kind, (1, 7, 11, 1), (1, 1), half=True)
    yield resize(rng, "RESIZE_NEAREST_NEIGHBOR", kind, (1, 3, 3, 1), (25, 31))
    # Optional for the engine: listed because the kernels have it.
    yield resize(rng, "RESIZE_BILINEAR", kind, x, (7, 9))
    yield resize(rng, "RESIZE_BILINEAR", kind, x, (9, 3), half=True)
    yield resize(rng, "RESIZE_BILINEAR", kind, x, (8, 9), align=True)


# --------------------------------------------------------------------------------------------
# operators.npz


@contextlib.contextmanager
def quiet(log: Path):
    """The kernels explain a refusal on the process's stderr: keep that in `log`."""
    saved = os.dup(2)
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def operators(path: Path) -> None:
    arrays, index, counts = {}, [], {}
    families = [sums_of_products, pairs, reductions, pointwise, requantisations, copies]
    plan = [(f, "int8", by_micro, "tflite-micro") for f in families]
    plan += [(f, "float32", by_litert, "litert-ref") for f in families if f is not requantisations]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "stderr"
        for family, kind, peer, name in plan:
            rng = np.random.default_rng([SEED, *family.__name__.encode(), *kind.encode()])
            for c in family(rng, kind):
                model = tflite(c)
                try:
                    with quiet(log):
                        results = peer(model, c.feeds, len(c.outputs))
                except (RuntimeError, ValueError) as refusal:
                    reason = " / ".join(log.read_text().split("\n")).strip() or str(refusal)
                    print(f"dropped: {c.op} {c.parameters}: {name} says: {reason}")
                    continue
                for want, got in zip(c.outputs, results):
                    assert got.shape == tuple(want.shape) and got.dtype == want.kind, (c.op, got.shape)
                key = f"c{len(index):03}"
                index.append(dict(key=key, op=c.op, parameters=c.parameters, peer=name))
                arrays[f"{key}_model"] = np.frombuffer(model, np.uint8)
                arrays.update({f"{key}_in{i}": a for i, a in enumerate(c.feeds)})
                arrays.update({f"{key}_out{i}": a for i, a in enumerate(results)})
                counts.setdefault(c.op, [0, 0])[kind == "float32"] += 1
    save(path, arrays, index)
    print(f"{path}: {len(index)} cases, {path.stat().st_size} bytes")
    for op, (whole, real) in sorted(counts.items()):
        print(f"  {op:24} {whole:3} integer {real:3} f32")


def save(path: Path, arrays: dict[str, np.ndarray], index: Any) -> None:
    text = json.dumps(index, separators=(",", ":")).encode()
    np.savez_compressed(path, index_json=np.frombuffer(text, np.uint8), **arrays)


# --------------------------------------------------------------------------------------------
# wake_words.npz


PHRASES = {
    "okay_nabu": "okay nah boo",
    "hey_jarvis": "hey jarvis",
    "hey_mycroft": "hey mycroft",
    "alexa": "alexa",
}
RANDOM, SPOKEN, RATE = 20, 44, 16_000  # steps, steps, samples per second


def speech(phrase: str) -> tuple[np.ndarray, str]:
    """1.5 s of 16-bit sound with the phrase after 0.25 s, and what made it."""
    rng = np.random.default_rng([SEED, *phrase.encode()])
    sound = rng.normal(0, 20, int(1.5 * RATE))
    if shutil.which("espeak-ng"):
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/phrase.wav"
            subprocess.run(["espeak-ng", "-v", "en-us+f3", "-s", "150", "-w", file, phrase], check=True)
            with wave.open(file) as wav:
                said = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").astype(float)
                at = np.arange(int(len(said) * RATE / wav.getframerate()))
                said = np.interp(at * wav.getframerate() / RATE, np.arange(len(said)), said)
        source = "espeak-ng"
    else:
        t = np.arange(RATE) / RATE
        said = 9_000 * np.sin(2 * np.pi * (200 * t + 1_500 * t * t)) * np.sin(2 * np.pi * 3 * t) ** 2
        source = "sweep"
    said = said[: len(sound) - RATE // 4]
    sound[RATE // 4 :][: len(said)] += said
    return np.clip(np.round(sound), -32768, 32767).astype("<i2"), source


def frames(sound: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """int8 [n,3,40]: three spectra of 10 ms per step, quantised as pymicro-wakeword does."""
    from pymicro_features import MicroFrontend

    frontend, spectra = MicroFrontend(), []
    for chunk in range(0, len(sound) - RATE // 100 + 1, RATE // 100):
        out = frontend.process_samples(sound[chunk : chunk + RATE // 100].tobytes())
        if out.features:
            spectra.append(out.features)
    whole = np.array(spectra[: len(spectra) // 3 * 3]).reshape(-1, 3, 40)
    return np.clip(np.round(whole / scale + zero), -128, 127).astype("int8")


def wake_words(path: Path) -> None:
    """Per network, from ONE interpreter that keeps its state:

    `<name>_in`           int8 [64,3,40], 20 steps of noise and then 44 of speech,
    `<name>_out`          uint8 [64,1], the answers,
    `<name>_going_on`     uint8 [8,1], the first 8 inputs once more: other answers, the state is another,
    `<name>_after_reset`  uint8 [8,1], and once more after a reset: the first answers again.

    The index names each file by size and SHA-256; its `reset_repeats` and `anew_repeats` say that all
    64 answers repeat after a reset, and in a new interpreter.
    """
    import pymicro_wakeword

    folder, arrays, index = Path(pymicro_wakeword.__file__).parent / "models", {}, []
    for name, phrase in PHRASES.items():
        model = (folder / f"{name}.tflite").read_bytes()
        interpreter = micro.Interpreter.from_bytes(model, arena_size=1 << 20)
        x = interpreter.get_input_details(0)["quantization_parameters"]
        scale, zero = float(np.ravel(x["scales"])[0]), int(np.ravel(x["zero_points"])[0])
        sound, source = speech(phrase)
        rng = np.random.default_rng([SEED, *name.encode()])
        steps = np.concatenate([values(rng, (RANDOM, 3, 40), "int8"),
                                frames(sound, scale, zero)[:SPOKEN]])  # fmt: skip

        def answers(which: micro.Interpreter) -> np.ndarray:
            out = []
            for step in steps:
                which.set_input(step[None], 0)
                which.invoke()
                out.append(which.get_output(0).reshape(1).copy())
            return np.array(out)

        first, going_on = answers(interpreter), answers(interpreter)
        interpreter.reset()
        again = answers(interpreter)
        anew = answers(micro.Interpreter.from_bytes(model, arena_size=1 << 20))
        assert (going_on[:8] != first[:8]).any(), "state should matter"
        assert steps.shape == (SPOKEN + RANDOM, 3, 40) and first.dtype == np.uint8
        arrays |= {f"{name}_in": steps, f"{name}_out": first, f"{name}_going_on": going_on[:8],
                   f"{name}_after_reset": again[:8]}  # fmt: skip
        index.append(dict(
            name=name, file=f"pymicro_wakeword/models/{name}.tflite", bytes=len(model),
            sha256=hashlib.sha256(model).hexdigest(), speech=source, phrase=phrase,
            input_scale=scale, input_zero_point=zero, peer="tflite-micro",
            reset_repeats=bool((again == first).all()), anew_repeats=bool((anew == first).all()),
        ))  # fmt: skip
        print(f"  {name:12} highest answer {first.max():3} ({source}); {first[RANDOM:].max()} in speech; "
              f"reset repeats: {index[-1]['reset_repeats']}, anew: {index[-1]['anew_repeats']}")  # fmt: skip
    save(path, arrays, index)
    print(f"{path}: {path.stat().st_size} bytes")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("folder", type=Path, help="where the two files go")
    folder = arguments.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    operators(folder / "operators.npz")
    wake_words(folder / "wake_words.npz")


if __name__ == "__main__":
    sys.exit(main())
