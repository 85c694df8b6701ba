"""Arithmetic, exactly: the expression is read as a tree of numbers and a few operators, and nothing is ever executed.

Integers and decimal fractions are exact rational numbers throughout, however long. Sizes are bounded before a power is
taken.
"""

from __future__ import annotations

import ast
import math
import operator
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CHARS = 500
MAX_DEPTH = 50
MAX_BITS = 4096
"""Of a numerator or a denominator: about 1,200 digits."""
DIGITS = 15
"""Of a result that is no whole number and no short decimal fraction."""


def _floor_divide(left: Fraction, right: Fraction) -> Fraction:
    return Fraction(left // right)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return _rounded(lambda: float(base) ** float(exponent))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base not in {0, 1, -1} and (bits - 1 or 1) * abs(exponent.numerator) > MAX_BITS:
        raise ValueError(f"the power is too large: a result may have about {MAX_BITS * 3 // 10} digits")
    if base in {0, 1, -1} and exponent > 1:
        exponent = Fraction(2 - exponent.numerator % 2)  # 0, 1 and -1 to any power, without the work
    return Fraction(base**exponent.numerator)


def _root(number: Fraction) -> Fraction:
    if number < 0:
        raise ValueError("the result is no real number")
    root = Fraction(math.isqrt(number.numerator), math.isqrt(number.denominator))
    return root if root * root == number else _rounded(lambda: math.sqrt(number))


def _round(number: Fraction, digits: Fraction = Fraction(0)) -> Fraction:
    if digits.denominator != 1 or abs(digits) > DIGITS:
        raise ValueError(f"round takes a whole number of digits, at most {DIGITS}")
    return Fraction(round(number, digits.numerator))


def _rounded(work: Callable[[], float | complex]) -> Fraction:
    """A result of floating-point functions, which is exact to about 15 digits."""
    try:
        result = work()
    except ValueError:  # "math domain error"
        result = math.nan
    if isinstance(result, complex) or not math.isfinite(result):
        raise ValueError("the result is no real number")
    return Fraction(repr(result))


_OPERATORS: dict[type[ast.AST], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: _floor_divide,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_SIGNS: dict[type[ast.AST], Callable[[Fraction], Fraction]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_CONSTANTS = {"pi": Fraction(repr(math.pi)), "e": Fraction(repr(math.e))}
_FUNCTIONS: dict[str, Callable[..., Fraction]] = {
    "abs": abs,
    "ceil": lambda number: Fraction(math.ceil(number)),
    "cos": lambda number: _rounded(lambda: math.cos(number)),
    "exp": lambda number: _rounded(lambda: math.exp(number)),
    "floor": lambda number: Fraction(math.floor(number)),
    "ln": lambda number: _rounded(lambda: math.log(number)),
    "log10": lambda number: _rounded(lambda: math.log10(number)),
    "max": max,
    "min": min,
    "round": _round,
    "sin": lambda number: _rounded(lambda: math.sin(number)),
    "sqrt": _root,
    "tan": lambda number: _rounded(lambda: math.tan(number)),
}
_INEXACT = {"cos", "exp", "ln", "log10", "sin", "tan"}
_HELP = f"use numbers, + - * / // % **, parentheses, pi, e, and {', '.join(_FUNCTIONS)}"


def calculate(expression: str) -> str:
    """Work out an arithmetic expression, exactly, such as (17.5 - 3) * 2**10 or round(100 / 7, 2).

    It takes numbers, + - * / // % **, parentheses, pi, e, abs, ceil, cos, exp, floor, ln, log10, max, min, round, sin, sqrt
    and tan (angles in radians). A result that begins with ≈ is rounded.
    """
    text = expression.strip()
    if len(text) > MAX_CHARS:
        raise ValueError(f"the expression has {len(text)} characters; at most {MAX_CHARS} are read: split it")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"this is no arithmetic expression: {_HELP}") from None
    try:
        reader = _Reader(text)
        result = reader.value(tree.body)
        return f"≈ {_approximate(result)}" if reader.rounded else _written(result)
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except OverflowError:
        raise ValueError("a number is too large for this function") from None


class _Reader:
    """Works out a tree; ``text`` is its source, which decimal fractions are read from, exactly.

    ``rounded`` says whether anything on the way was not exact.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.rounded = False

    def value(self, node: ast.expr, depth: int = 0) -> Fraction:
        if depth > MAX_DEPTH:
            raise ValueError(f"the expression is nested more than {MAX_DEPTH} deep: split it")
        return _bounded(self._value(node, depth + 1))

    def _value(self, node: ast.expr, depth: int) -> Fraction:
        if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
            return self._number(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            left, right = self.value(node.left, depth), self.value(node.right, depth)
            self.rounded |= isinstance(node.op, ast.Pow) and right.denominator != 1
            return _OPERATORS[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
            return _SIGNS[type(node.op)](self.value(node.operand, depth))
        if isinstance(node, ast.Name) and node.id in _CONSTANTS:
            self.rounded = True
            return _CONSTANTS[node.id]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            if function := _FUNCTIONS.get(node.func.id):
                return self._call(function, node.func.id, [self.value(part, depth) for part in node.args])
            raise ValueError(f"there is no function {node.func.id}: {_HELP}")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            raise ValueError("^ is no operator here: write a power as **")
        if isinstance(node, ast.Tuple):
            raise ValueError("write numbers without commas: 1000000, not 1,000,000")
        raise ValueError(f"{ast.get_source_segment(self._text, node) or 'this'} is no arithmetic: {_HELP}")

    def _number(self, node: ast.Constant) -> Fraction:
        written = (ast.get_source_segment(self._text, node) or "").replace("_", "")
        digits, _, exponent = written.lower().partition("e")
        if isinstance(node.value, float) and len(exponent.lstrip("+-")) > 4:
            raise ValueError(f"{written} is too large or too small")
        if isinstance(node.value, float) and abs(int(exponent or 0)) > MAX_BITS // 4:
            raise ValueError(f"{written} is too large or too small")
        return Fraction(node.value) if isinstance(node.value, int) else Fraction(f"{digits}e{exponent or 0}")

    def _call(self, function: Callable[..., Fraction], name: str, arguments: list[Fraction]) -> Fraction:
        try:
            result = Fraction(function(*arguments))
            self.rounded |= name in _INEXACT or (name == "sqrt" and result * result != arguments[0])
            return result
        except TypeError:
            raise ValueError(f"{name} does not take {len(arguments)} numbers") from None
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None


def _bounded(number: Fraction) -> Fraction:
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
        raise ValueError(f"a number has more than about {MAX_BITS * 3 // 10} digits")
    return number


def _written(number: Fraction) -> str:
    """A whole number with all of its digits, a decimal fraction exactly where it is short, else rounded."""
    if number.denominator == 1:
        return str(number.numerator)
    places = next((n for n in range(1, 2 * DIGITS) if (number * 10**n).denominator == 1), None)
    if places is None:
        return f"≈ {_approximate(number)}"
    digits = str(abs(number * 10**places)).rjust(places + 1, "0")
    return f"{'-' if number < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _approximate(number: Fraction) -> str:
    try:
        if close := float(number):
            return f"{close:.{DIGITS}g}"
    except OverflowError:
        pass
    size = number.numerator.bit_length() - number.denominator.bit_length()
    ten = int(size * math.log10(2))
    return f"{float(number / Fraction(10) ** ten):.{DIGITS}g} * 10**{ten}"
