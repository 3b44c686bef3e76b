"""While this guard holds, torch cannot be made to run code that lies in a model file.

`torch.export.load` (2.13) does so in six places: pickled weights and its silent fall-back to `weights_only=False`,
pickled custom and opaque objects, native libraries (AOTInductor), size expressions evaluated as Python by sympy,
operator names that resolve to any function reachable from `torch`, and imports named in a tree specification. Each is
closed where it is used, so that no second reading of the archive can disagree with torch's own.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import pickle
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import sympy  # type: ignore[import-untyped]
import torch

_LOCK = threading.RLock()
# What sympy's own printers write for sizes: arithmetic, comparisons and logic over symbols such as s77 or u0.
_FUNCTIONS = frozenset(
    {
        "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Mod", "Max", "Min", "Abs", "floor", "ceiling",
        "sqrt", "exp", "log", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "StrictLessThan",
        "LessThan", "StrictGreaterThan", "GreaterThan", "And", "Or", "Not", "Piecewise", "ExprCondPair", "Tuple",
        "TruncToFloat", "ToFloat",
    }
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")
_TEXT = re.compile(r"[A-Za-z0-9_.+-]{1,60}")
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.Load, ast.Tuple, ast.keyword,
)  # fmt: skip


class CodeRefused(Exception):
    """A file asked for code to be run; the text says by which way."""


@contextmanager
def no_code_from_files() -> Iterator[None]:
    """Close every known way from a `.pt2` file to running code, for the duration of the block.

    Raises
    ------
    CodeRefused
        From inside the block, when the file tries.
    """
    with _LOCK, ExitStack() as stack:
        refused: list[str] = []

        def refuse(reason: str) -> CodeRefused:
            # torch catches some exceptions on its way; what was refused once stays refused
            refused.append(reason)
            return CodeRefused(reason)

        try:
            _close(stack, refuse)
        except (ImportError, AttributeError):
            raise CodeRefused(f"the loader of torch {torch.__version__} cannot be guarded by this suite") from None
        try:
            yield
        except CodeRefused:
            raise
        except Exception:
            if refused:
                raise CodeRefused(refused[0]) from None
            raise
        if refused:
            raise CodeRefused(refused[0])


def _close(stack: ExitStack, refuse: Any) -> None:
    import torch._export.serde.serialize as serialize
    import torch.export.pt2_archive._package as package
    import torch.utils._pytree as pytree

    def replace(owner: Any, name: str, value: Any) -> None:
        stack.enter_context(patch.object(owner, name, value))

    replace(torch, "load", _weights_only(torch.load, refuse))
    replace(torch._C, "_pickle_load_obj", _never(refuse, "custom objects"))
    replace(package, "pickle", _Closed(pickle, {"loads", "load", "Unpickler"}, refuse, "pickled objects"))
    replace(package, "_load_aoti", _never(refuse, "a native library"))
    replace(sympy, "sympify", _plain_expressions(sympy.sympify, refuse))
    owner = serialize.GraphModuleDeserializer
    replace(owner, "deserialize_operator", _known_operators(owner.deserialize_operator, serialize, refuse))
    replace(pytree, "importlib", _Closed(importlib, {"import_module"}, refuse, "an import"))


def _never(refuse: Any, reason: str) -> Any:
    def closed(*_: Any, **__: Any) -> Any:
        raise refuse(reason)

    return closed


class _Closed:
    """A module with some of its functions closed."""

    def __init__(self, module: ModuleType, names: set[str], refuse: Any, reason: str) -> None:
        self._module, self._names, self._refuse, self._reason = module, names, refuse, reason

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            return _never(self._refuse, self._reason)
        return getattr(self._module, name)


def _weights_only(original: Any, refuse: Any) -> Any:
    def load(*args: Any, **kwargs: Any) -> Any:
        kwargs["weights_only"] = True
        try:
            return original(*args, **kwargs)
        except pickle.UnpicklingError as error:
            raise refuse("pickled objects beyond plain weights") from error

    return load


def _plain_expressions(original: Any, refuse: Any) -> Any:
    def sympify(value: Any, locals: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, str) and not _is_arithmetic(value, set(locals or ())):
            raise refuse("a size expression that is no arithmetic")
        return original(value, locals, *args, **kwargs)

    return sympify


def _is_arithmetic(text: str, known: set[str]) -> bool:
    """Whether a text is an expression of plain names, numbers and known functions; sympy would evaluate any Python."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    functions = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in known | _FUNCTIONS:
                return False
            functions.add(node.func)
        elif isinstance(node, ast.Name):
            if not _NAME.fullmatch(node.id) or (node.id in dir(builtins) and node not in functions):
                return False
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and not _TEXT.fullmatch(node.value):
                return False
        elif not isinstance(node, _NODES):
            return False
    return True


def _known_operators(original: Any, serialize: ModuleType, refuse: Any) -> Any:
    def deserialize_operator(self: Any, serialized_target: str) -> Any:
        if not re.fullmatch(r"#?[A-Za-z0-9_.:]+", serialized_target) or "__" in serialized_target:
            raise refuse("an operator name of unusual form")
        dotted = serialized_target.split(".")
        if dotted[0] == "torch" and dotted[1:2] != ["ops"] and not dotted[-1].startswith("sym_"):
            raise refuse("a function that is no tensor operator")
        target = original(self, serialized_target)
        operators = (torch._ops.OpOverload, torch._ops.HigherOrderOperator)
        if isinstance(target, (str, *operators)) or target in serialize._SYM_OPS:
            return target
        raise refuse("a function that is no tensor operator")

    return deserialize_operator
