"""Expressions as data files write them: read with Python's own parser, nothing executed."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable

from .errors import BadInput
from .expr import Expr, Number, binary, ceildiv, const, ge, group_sum, log2, maximum, minimum, sym, where

_FUNCTIONS: dict[str, Callable[..., Expr]] = {
    "ceildiv": ceildiv, "min": minimum, "max": maximum, "ge": ge, "where": where, "gsum": group_sum, "log2": log2,
}  # fmt: skip
_MOST = 1e300  # constants beyond it are no sizes
_AST_OPERATORS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod",
    ast.Pow: "pow",
}  # fmt: skip


def parse_expr(text: str | Number) -> Expr:
    """Read an expression from a data file; nothing is executed.

    Raises:
        BadInput: for anything but numbers, names, ``+ - * / // % **`` and the functions named above.
    """
    if isinstance(text, (int, float)):
        if not abs(text) <= _MOST:  # false for NaN too
            raise BadInput("a number that is not finite or beyond all sizes", expected=f"at most {_MOST:g}")
        return const(text)
    if len(text) > 2000:
        raise BadInput(f"an expression of {len(text)} characters", expected="at most 2000")
    try:
        with warnings.catch_warnings():  # "5(n)" makes Python's parser remark on what will be refused anyway
            warnings.simplefilter("ignore", SyntaxWarning)
            return _from_ast(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError, TypeError) as error:
        raise BadInput(
            f"cannot read the expression {text[:60]!r}",
            expected="numbers, names, + - * / // % ** and " + ", ".join(_FUNCTIONS),
        ) from error


def _from_ast(node: ast.expr) -> Expr:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _usable(const(node.value))
    if isinstance(node, ast.Name):
        return sym(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return const(-1) * _from_ast(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _AST_OPERATORS:
        left, right = _from_ast(node.left), _from_ast(node.right)
        if isinstance(node.op, ast.Pow):
            power, base = right.constant, left.constant
            if power is None or abs(power) > (16 if base is None else 1000):
                raise ValueError("an exponent that is no small number")
            if base is not None and abs(float(base)) ** abs(power) > _MOST:  # 9**9**9 in integers would never return
                raise ValueError("a number out of range")
        return _usable(binary(_AST_OPERATORS[type(node.op)], left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        if node.keywords:
            raise ValueError("arguments have no names here")
        return _usable(_FUNCTIONS[node.func.id](*[_from_ast(a) for a in node.args]))
    raise ValueError(ast.dump(node))


def _usable(expr: Expr) -> Expr:
    """The expression; a constant it folded to must be a real number of ordinary size."""
    number = expr.constant
    if number is not None and not (isinstance(number, (int, float)) and abs(number) <= _MOST):
        raise ValueError("a constant that is no ordinary number")
    return expr
