"""Conditions on images and annotations, such as `width > 32 and category in ('dog', 'cat') and split == 'train'`.

The text is parsed by Python's own grammar and evaluated here, node by node, on whole columns: nothing that is not listed below can
be written, and nothing is executed. A value knows which table its rows are of, so that a condition on the category's name is
answered once for each category, and one on an image once for each image.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.fields import Fields, Level, Problem, Value
from augsuite.dataset.tables import Dataset
from augsuite.errors import ConfigError


def choose(data: Dataset, expression: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images and which annotations satisfy a condition.

    Of the conditions that `and` joins at the top, those that look at images only choose images; all others choose annotations.

    Args:
        data: the dataset; sizes of images that it does not know are read from their files if the condition needs them.
        expression: the condition. It is made of the names that `names(data)` lists, numbers, texts, `None` (the file did not say),
            `and or not`, `== != < <= > >=`, `in (...)`, `'part' in name`, `+ - * / // %`, and of `abs(a)`, `min(a, b)`,
            `max(a, b)`, `number(text)`, `startswith(text, 'a')`, `endswith(text, 'a')`, `matches(text, 'regular expression')`.
            A name that is no word is written `extra['its name']`. Sizes and places are in pixels; a label of a whole image has
            none of them (NaN), so that every comparison with them is false.

    Returns:
        `(I,)` and `(N,)` masks.

    Raises:
        ConfigError: if it is no such condition; says where, and the nearest name.
        DataError: if boxes are stored as fractions of images whose size is not known.
    """
    fields = Fields(data)
    images, annotations = np.ones(len(data), bool), np.ones(len(data.annotations), bool)
    try:
        with np.errstate(all="ignore"):
            for part in _conditions(_parse(expression)):
                value = _evaluate(part, fields)
                if value.kind != "yes or no":
                    raise Problem(part, f"is {value.kind}, not a condition")
                if value.level in {Level.CONSTANT, Level.IMAGE}:
                    images &= value.values
                else:
                    annotations &= fields.spread(value, Level.ANNOTATION)
    except Problem as problem:
        at = f" (`{ast.unparse(problem.node)}`)" if problem.node is not None else ""
        end = "" if problem.said.endswith("?") else "."
        raise ConfigError(f"expression {expression!r}{at}: {problem.said}{end}") from None
    except (RecursionError, MemoryError):
        raise ConfigError(
            f"expression {expression[:60]!r}...: is nested too deeply. Write it in several steps."
        ) from None
    return images, annotations


def names(data: Dataset) -> list[str]:
    """The names that an expression can use, extras last."""
    return list(Fields(data).names)


def _parse(expression: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on odd literals; what matters is refused below
            return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise Problem(None, f"{error.msg} at column {error.offset or 1}") from None
    except ValueError as error:
        raise Problem(None, str(error)) from None


def _conditions(node: ast.expr) -> list[ast.expr]:
    """What `and` joins at the top."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [part for value in node.values for part in _conditions(value)]
    return [node]


_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
}
_LARGEST = 2**63 - 1


def _evaluate(node: ast.expr, fields: Fields) -> Value:
    """The value of one node; see `choose` for what there is."""
    match node:
        case ast.Constant(value=constant):
            return Value(Level.CONSTANT, _constant(node, constant))
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return fields.get(node, _name(node))
        case ast.BoolOp(op=op, values=parts):
            values = [_truth(part, fields) for part in parts]
            return _together(np.logical_and if isinstance(op, ast.And) else np.logical_or, values, fields)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _together(np.logical_not, [_truth(operand, fields)], fields)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _together(np.negative, [_number(operand, fields)], fields)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _together(_ARITHMETIC[type(op)], [_number(left, fields), _number(right, fields)], fields)
        case ast.Compare(left=left, ops=ops, comparators=others):
            pairs = zip([left, *others], ops, others, strict=False)
            values = [_compare(node, first, op, second, fields) for first, op, second in pairs]
            return values[0] if len(values) == 1 else _all_of(values, fields)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(node, name, arguments, fields)
    raise Problem(node, "cannot be part of a condition; see the page on editing for what can")


def _together(work: Callable[..., Any], values: list[Value], fields: Fields) -> Value:
    """A function of columns, on the level that they share."""
    level = Level.CONSTANT
    for value in values:
        level |= value.level
    return Value(level, work(*(fields.spread(value, level) for value in values)))


def _all_of(values: list[Value], fields: Fields) -> Value:
    result = values[0]
    for value in values[1:]:
        result = _together(np.logical_and, [result, value], fields)
    return result


def _constant(node: ast.expr, value: Any) -> Any:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise Problem(node, "is larger than any number in a dataset")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise Problem(node, "is neither a number nor a text")


def _name(node: ast.expr) -> str:
    """`width`, `coco.area` or `extra['csv.some column']`."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name() | ast.Attribute() as owner, attr=name):
            return f"{_name(owner)}.{name}"
        case ast.Subscript(value=ast.Name(id="extra"), slice=ast.Constant(value=str() as name)):
            return name
    raise Problem(node, "is not the name of a column; write extra['name'] where it is no plain word")


def _truth(node: ast.expr, fields: Fields) -> Value:
    value = _evaluate(node, fields)
    if value.kind != "yes or no":
        raise Problem(node, f"is {value.kind}, not a condition")
    return value


def _number(node: ast.expr, fields: Fields) -> Value:
    value = _evaluate(node, fields)
    if value.kind not in {"a number", "yes or no"}:
        raise Problem(node, f"is {value.kind}, not a number" + ("; try number(...)" if value.kind == "text" else ""))
    # In float64 and of numpy's types: no overflow, and a division by zero is NaN or infinite.
    return Value(value.level, np.asarray(value.values, np.float64)[()])


def _text(node: ast.expr, fields: Fields) -> Value:
    value = _evaluate(node, fields)
    if value.kind != "text" or value.level is Level.CONSTANT:
        raise Problem(node, f"is {value.kind}, not a column of texts" if value.kind != "text" else "is no column")
    return value


def _compare(whole: ast.expr, first: ast.expr, op: ast.cmpop, second: ast.expr, fields: Fields) -> Value:
    if isinstance(op, ast.In | ast.NotIn):
        found = _membership(first, second, fields)
        return _together(np.logical_not, [found], fields) if isinstance(op, ast.NotIn) else found
    left, right = _evaluate(first, fields), _evaluate(second, fields)
    if "nothing" in {left.kind, right.kind}:
        return _nothing(whole, op, left, right)
    if type(op) not in _COMPARE:
        raise Problem(whole, "`is` is for None alone; write ==")
    if (left.kind == "text") != (right.kind == "text") and not _any_object(left, right):
        raise Problem(whole, f"compares {left.kind} with {right.kind}")
    if left.kind == right.kind == "yes or no" and type(op) not in {ast.Eq, ast.NotEq}:
        raise Problem(whole, "only == and != compare conditions")
    try:
        value = _together(_COMPARE[type(op)], [left, right], fields)
    except TypeError:  # None or a list among the objects
        raise Problem(
            whole, "not every row has a text or number to compare; ask for `!= None` first, or use number(...)"
        ) from None
    return Value(value.level, np.asarray(value.values, bool)[()])


def _any_object(*values: Value) -> bool:
    """Whether a column of objects is among them that holds more than texts."""
    return any(
        isinstance(value.values, np.ndarray)
        and value.values.dtype == object
        and any(not isinstance(each, str | None) for each in value.values.tolist())
        for value in values
    )


def _nothing(whole: ast.expr, op: ast.cmpop, left: Value, right: Value) -> Value:
    """`column == None`: whether the file said nothing."""
    if not isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot):
        raise Problem(whole, "only == and != compare with None")
    value = right if left.kind == "nothing" else left
    values = np.asarray(value.values)
    if values.dtype == object:
        missing = np.frompyfunc(lambda each: each is None, 1, 1)(values)
    else:
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    missing = np.asarray(missing, bool)
    return Value(value.level, (missing if isinstance(op, ast.Eq | ast.Is) else ~missing)[()])


def _membership(first: ast.expr, second: ast.expr, fields: Fields) -> Value:
    left = _evaluate(first, fields)
    if isinstance(second, ast.Tuple | ast.List | ast.Set):
        wanted = [_evaluate(each, fields) for each in second.elts]
        if any(each.level is not Level.CONSTANT for each in wanted):
            raise Problem(second, "lists more than numbers and texts")
        if any((each.kind == "text") != (left.kind == "text") for each in wanted) and not _any_object(left):
            raise Problem(second, f"does not list {'texts' if left.kind == 'text' else 'numbers'} alone")
        constants = {each.values for each in wanted}
        return _each(lambda value: _hashable(value) and value in constants, left)
    right = _evaluate(second, fields)
    if isinstance(left.values, str) and right.kind == "text" and right.level is not Level.CONSTANT:
        part = left.values
        return _each(lambda value: isinstance(value, str) and part in value, right)
    raise Problem(second, "is neither a list such as ('a', 'b') nor a column of texts")


def _hashable(value: Any) -> bool:
    return isinstance(value, str | int | float | None)


def _each(test: Callable[[Any], bool], value: Value) -> Value:
    """A test of each value of a column, or of a constant."""
    if value.level is Level.CONSTANT:
        return Value(value.level, np.bool_(test(value.values)))
    return Value(value.level, np.array([test(each) for each in value.values.tolist()], bool))


def _call(node: ast.expr, name: str, arguments: list[ast.expr], fields: Fields) -> Value:
    if name == "abs" and len(arguments) == 1:
        return _together(np.abs, [_number(arguments[0], fields)], fields)
    if name in {"min", "max"} and len(arguments) == 2:
        work = np.minimum if name == "min" else np.maximum
        return _together(work, [_number(each, fields) for each in arguments], fields)
    if name == "number" and len(arguments) == 1:
        column = _text(arguments[0], fields)
        return Value(column.level, np.array([_as_number(each) for each in column.values.tolist()], np.float64))
    if name in {"startswith", "endswith", "matches"} and len(arguments) == 2:
        column, pattern = _text(arguments[0], fields), arguments[1]
        if not (isinstance(pattern, ast.Constant) and isinstance(pattern.value, str)):
            raise Problem(pattern, "is not a text in quotes")
        return _each(_text_test(name, pattern, pattern.value), column)
    known = (
        "abs(a), min(a, b), max(a, b), number(text), startswith(text, 'a'), endswith(text, 'a'), matches(text, 'a.*')"
    )
    raise Problem(node, f"there is no such function of {len(arguments)} arguments. Known: {known}")


def _text_test(name: str, node: ast.expr, pattern: str) -> Callable[[Any], bool]:
    if name == "startswith":
        return lambda value: isinstance(value, str) and value.startswith(pattern)
    if name == "endswith":
        return lambda value: isinstance(value, str) and value.endswith(pattern)
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise Problem(node, f"is no regular expression: {error}") from None
    return lambda value: isinstance(value, str) and search(value) is not None


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
