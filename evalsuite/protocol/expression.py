"""The score of a case as a small formula of named model outputs, e.g. the sum of three malignant classes."""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalsuite.errors import ContractError, Problem, ProtocolError

FloatArray = NDArray[np.float64]
_Evaluate = Callable[[Mapping[str, FloatArray]], FloatArray]

_MAX_LENGTH = 2000
_MAX_DEPTH = 64
_FUNCTIONS = ("min", "max")
_ALLOWED = "names of outputs, numbers, + - * /, parentheses, min() and max()"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreExpression:
    """A checked formula: the outputs it needs, in order of first use, and how to compute it."""

    text: str
    names: tuple[str, ...]
    _compute: _Evaluate

    def evaluate(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """The score per case.

        Parameters
        ----------
        columns
            One array (n,) per output, all equally long; more than the formula names is fine.

        Returns
        -------
        NDArray[np.float64]
            Scores (n,). NaN where an output is NaN, and where the formula has no finite value (a division by zero):
            a case whose score is NaN has no usable output.

        Raises
        ------
        ContractError
            If an output the formula names is not among the columns.
        """
        missing = [name for name in self.names if name not in columns]
        if missing:
            problems = []
            for name in missing:
                close = difflib.get_close_matches(name, list(columns), n=1)
                problems.append(
                    Problem(f"output '{name}' missing", "task.score", f"did you mean '{close[0]}'?" if close else "")
                )
            raise ContractError(
                f"The protocol's score needs {', '.join(self.names)}; the model gives "
                f"{', '.join(columns) or 'no output'}.",
                problems=problems,
            )
        arrays = {name: np.asarray(columns[name], dtype=np.float64) for name in self.names}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            result = self._compute(arrays)
        return np.where(np.isfinite(result), result, np.nan)


def compile_score(score: str | Sequence[str]) -> ScoreExpression:
    """Check a score formula and make it computable; nothing but arithmetic on named outputs is understood.

    Parameters
    ----------
    score
        A formula (`p_mel + p_bcc + p_akiec`), or a list of output names, taken literally and summed.

    Raises
    ------
    ProtocolError
        If the formula cannot be read, names no output, or holds anything but the arithmetic above; says what.

    Examples
    --------
    >>> e = compile_score("max(p_mel, p_bcc) / 2")
    >>> e.names, e.evaluate({"p_mel": np.array([0.2]), "p_bcc": np.array([0.6])}).tolist()
    (('p_mel', 'p_bcc'), [0.3])
    """
    if isinstance(score, str):
        return _compile_text(score)
    return _compile_sum(list(score))


def _refuse(what: str, hint: str = f"allowed are {_ALLOWED}") -> ProtocolError:
    return ProtocolError("The score cannot be used.", problems=[Problem(what, "task.score", hint)])


def _compile_sum(names: list[str]) -> ScoreExpression:
    if not names or any(not name.strip() for name in names):
        raise _refuse("score lists no output, or an empty name", "name at least one output of the model")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise _refuse(f"score lists an output twice ({', '.join(repeated)})", "a list is summed: name each output once")

    def compute(columns: Mapping[str, FloatArray]) -> FloatArray:
        total = columns[names[0]].copy()
        for name in names[1:]:
            total = total + columns[name]
        return total

    return ScoreExpression(text=" + ".join(names), names=tuple(names), _compute=compute)


def _compile_text(text: str) -> ScoreExpression:
    source = " ".join(text.split())
    if not source:
        raise _refuse("score is empty", "name an output of the model")
    if len(source) > _MAX_LENGTH:
        raise _refuse(f"score is longer than {_MAX_LENGTH} characters")
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refuse(
            f"score '{_short(source)}' is not a formula",
            f'allowed are {_ALLOWED}; an output with an unusual name goes into a list: ["{_short(source)}"]',
        ) from error
    names: list[str] = []
    compute = _build(tree.body, source.encode(), names, depth=0)
    if not names:
        raise _refuse(f"score '{_short(source)}' names no output", "name at least one output of the model")
    return ScoreExpression(text=source, names=tuple(names), _compute=compute)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _build(node: ast.expr, source: bytes, names: list[str], *, depth: int) -> _Evaluate:
    if depth > _MAX_DEPTH:
        raise _refuse(f"score is nested more than {_MAX_DEPTH} levels deep")
    match node:
        case ast.Name():
            # The parser folds look-alike characters together; the output keeps the spelling of the file.
            name = source[node.col_offset : node.end_col_offset].decode()
            if name in _FUNCTIONS:
                raise _refuse(f"score uses '{name}' without parentheses", f"write {name}(a, b)")
            if name not in names:
                names.append(name)
            return lambda columns: columns[name]
        case ast.Constant(value=bool() | None | str() | bytes() | complex()):
            raise _refuse(f"score holds '{_segment(node, source)}', which is neither a number nor an output")
        case ast.Constant(value=int() | float() as number):
            return _constant(number, _segment(node, source))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _build(operand, source, names, depth=depth + 1)
            return lambda columns: -inner(columns)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as operator, right=right):
            a = _build(left, source, names, depth=depth + 1)
            b = _build(right, source, names, depth=depth + 1)
            apply = _OPERATORS[type(operator)]
            return lambda columns: apply(a(columns), b(columns))
        case ast.Call(func=ast.Name(id="min" | "max" as function), args=arguments, keywords=[]):
            return _extreme(function, arguments, source, names, depth=depth)
    raise _refuse(f"score holds '{_short(_segment(node, source))}', which is not allowed")


def _segment(node: ast.expr, source: bytes) -> str:
    return source[node.col_offset : node.end_col_offset].decode(errors="replace")


def _constant(number: int | float, text: str) -> _Evaluate:
    try:
        value = float(number)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise _refuse(f"score holds the number {_short(text)}, which is too large")
    array = np.float64(value)
    return lambda columns: np.full(len(next(iter(columns.values()))), array)


def _extreme(function: str, arguments: list[ast.expr], source: bytes, names: list[str], *, depth: int) -> _Evaluate:
    if len(arguments) < 2:
        raise _refuse(f"score uses {function}() with fewer than two values", f"write {function}(a, b)")
    parts = [_build(argument, source, names, depth=depth + 1) for argument in arguments]
    ufunc = np.minimum if function == "min" else np.maximum

    def compute(columns: Mapping[str, FloatArray]) -> FloatArray:
        result = parts[0](columns)
        for part in parts[1:]:
            result = ufunc(result, part(columns))
        return result

    return compute


_OPERATORS: dict[type[ast.operator], Callable[[FloatArray, FloatArray], FloatArray]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
