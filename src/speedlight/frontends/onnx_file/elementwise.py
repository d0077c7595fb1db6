"""Operators that treat every element alike."""

from __future__ import annotations

from .held import broadcast
from .node import Node, Rule
from .sizes import Size
from .types import FLOATING

# ONNX name → the op table's.
_UNARY = {
    "Abs": "abs", "Neg": "neg", "Relu": "relu", "LeakyRelu": "leaky_relu", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "Erf": "erf", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Reciprocal": "reciprocal", "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish", "Elu": "elu", "Celu": "elu", "Selu": "elu", "ThresholdedRelu": "threshold",
    "Softplus": "softplus", "Softsign": "softsign", "Clip": "clamp", "Floor": "floor", "Ceil": "ceil", "Round": "round",
    "Sign": "sign", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin", "Acos": "acos", "Atan": "atan",
    "Sinh": "sinh", "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh", "Atanh": "atanh", "Mish": "mish",
    "Shrink": "hardshrink", "BitwiseNot": "bitwise_not", "Not": "logical_not", "Binarizer": "gt", "Swish": "silu",
    "QuickGelu": "quick_gelu", "FastGelu": "gelu_tanh",
}  # fmt: skip
_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "PRelu": "prelu", "Min": "minimum", "Max": "maximum",
    "Sum": "add", "Mean": "add", "Mod": "remainder", "BitShift": "bitwise_shift", "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "BiasGelu": "gelu",
}  # fmt: skip
_TRUTHS = {
    "Equal": "eq", "Less": "lt", "LessOrEqual": "le", "Greater": "gt", "GreaterOrEqual": "ge", "And": "logical_and",
    "Or": "logical_or", "Xor": "logical_xor", "IsNaN": "isnan", "IsInf": "isinf",
}  # fmt: skip


def _pointwise(fn: str, truth: bool = False) -> Rule:
    def rule(node: Node) -> None:
        shape = broadcast([node.shape(i) for i in range(len(node.inputs)) if node.has(i)], node.where)
        views = node.views()
        out = node.make(shape, "bool" if truth else None)
        node.call(fn, {f"input_{i}": v for i, v in enumerate(views)}, [out], pointwise=True)

    return rule


def gelu(node: Node) -> None:
    x = node.view(0)
    args = {"self": x, "approximate": node.attr("approximate", "none")}
    node.call("gelu", args, [node.make(node.shape(0))], pointwise=True)


def power(node: Node) -> None:
    shape = broadcast([node.shape(0), node.shape(1)], node.where)
    args = {"self": node.view(0), "exponent": node.number(1)}
    if args["exponent"] is None:
        args["exponent"] = node.view(1)
    node.call("pow", args, [node.make(shape)], pointwise=True)


def where(node: Node) -> None:
    shape = broadcast([node.shape(i) for i in range(3)], node.where)
    dtype = next(
        (node.dtype(i) for i in (1, 2) if node.dtype(i) in FLOATING and not node.held(i).constant), node.dtype(1)
    )
    condition, a, b = (node.view(i) for i in range(3))
    node.call("where", {"condition": condition, "self": a, "other": b}, [node.make(shape, dtype)], pointwise=True)


def cast(node: Node) -> None:
    """A cast between formats of one name (fp8 to fp8) moves nothing."""
    dtype = node.tensor_type("to", node.dtype(0)) if node.op == "Cast" else node.dtype(1)
    if dtype == node.dtype(0):
        node.alias(node.shape(0))
        return
    x = node.view(0)
    node.call("to_copy", {"self": x}, [node.make(node.shape(0), dtype)])


def same(node: Node) -> None:
    """Identity, and Dropout at inference: the result is the input."""
    node.alias(node.shape(0))
    if node.wants(1):
        node.make(node.shape(0), "bool", 1)


def random(node: Node) -> None:
    """RandomNormal, RandomUniform and their -Like forms, Bernoulli, Multinomial."""
    shape: tuple[Size, ...]
    if node.op in ("RandomNormal", "RandomUniform"):
        shape, default = tuple(node.ints("shape")), "fp32"
    elif node.op == "Multinomial":
        shape, default = (node.shape(0)[0], int(node.attr("sample_size", 1))), "int32"
    else:
        shape, default = node.shape(0), node.dtype(0)
    node.call("rand", {}, [node.make(shape, node.tensor_type("dtype", default))])


ELEMENTWISE: dict[tuple[str, str], Rule] = {
    **{("", name): _pointwise(fn) for name, fn in (*_UNARY.items(), *_BINARY.items())},
    **{("", name): _pointwise(fn, truth=True) for name, fn in _TRUTHS.items()},
    ("", "Gelu"): gelu, ("", "Pow"): power, ("", "Where"): where, ("", "Cast"): cast, ("", "CastLike"): cast,
    ("", "Identity"): same, ("", "Dropout"): same,
    **dict.fromkeys(
        [("", n) for n in ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")],
        random,
    ),
}  # fmt: skip
DRAWS = frozenset(name for (_, name), rule in ELEMENTWISE.items() if rule is random)
