"""Expressions of GitHub Actions, `${{ ... }}`, as far as the workflows here use them.

Whatever is not known here is an error, never an empty string: GitHub's way of taking a misspelt name for
nothing is how a workflow comes to skip its checks.
"""

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

_PLACE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_STRING = r"'(?:[^']|'')*'"
# What Python writes in another way; `~` binds as `!` does, and `not` does not.
_TOKEN = re.compile(rf"{_STRING}|\.[A-Za-z_][\w-]*|&&|\|\||!(?!=)")
_SIGNS = {"&&": " and ", "||": " or ", "!": " ~"}
_OF_PYTHON_ALONE = re.compile(r"[\"~]|\b(and|or|not|in|is|if|else|True|False|None)\b")
_CONSTANTS = {"true": True, "false": False, "null": None}


class UnknownError(Exception):
    """An expression, or a part of a workflow, that this tool does not know."""


class Open(dict[str, Any]):
    """A part of a context in which a missing key is null: what an event carries depends on the event."""


Functions = Mapping[str, Callable[..., Any]]


def evaluate(text: str, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """Evaluate one expression, without its `${{ }}`, as the Python that it becomes with other signs."""
    source = _TOKEN.sub(_in_python, text).strip()
    try:
        if _OF_PYTHON_ALONE.search(re.sub(_STRING, "", text)):
            raise SyntaxError
        tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise UnknownError(f"{text}: cannot be read") from error
    return _value(tree, contexts, functions, text)


def expand(text: str, contexts: Mapping[str, Any], functions: Functions) -> str:
    """Put the value of each expression in its place."""
    expanded = _PLACE.sub(lambda found: shown(evaluate(found[1], contexts, functions)), text)
    if "${{" in _PLACE.sub("", text):
        raise UnknownError(f"{text}: an expression that does not end")
    return expanded


def condition(text: str, contexts: Mapping[str, Any], functions: Functions) -> bool:
    """Evaluate an `if`. One that asks for no status also wants that nothing has failed."""
    inner = _PLACE.fullmatch(text.strip())
    expression = inner[1] if inner else text
    if "${{" in expression:
        raise UnknownError(f"{text}: a condition with an expression in the middle")
    value = truth(evaluate(expression, contexts, functions))
    asks = any(
        re.search(rf"\b{name}\(", expression) for name in ("always", "success", "failure", "cancelled")
    )
    return value if asks else value and functions["success"]()


def truth(value: Any) -> bool:
    return value not in (None, False, "", 0)


def shown(value: Any) -> str:
    """Return a value as text, as GitHub puts it into a string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise UnknownError(f"{value!r}: an object in the place of text")


def _in_python(found: re.Match[str]) -> str:
    token = found[0]
    if token.startswith("'"):
        return repr(token[1:-1].replace("''", "'"))
    return f"[{token[1:]!r}]" if token.startswith(".") else _SIGNS[token]


def _value(node: ast.expr, contexts: Mapping[str, Any], functions: Functions, text: str) -> Any:
    def of(inner: ast.expr) -> Any:
        return _value(inner, contexts, functions, text)

    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in _CONSTANTS or name in contexts:
            return _CONSTANTS[name] if name in _CONSTANTS else contexts[name]
        case ast.BoolOp(op=sign, values=parts):
            # All are evaluated, so that what is not known is found in any.
            *some, last = map(of, parts)
            wanted = isinstance(sign, ast.Or)
            return next((value for value in some if truth(value) == wanted), last)
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return not truth(of(operand))
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as sign], comparators=[right]):
            return _equal(of(left), of(right), text) == isinstance(sign, ast.Eq)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in functions:
            return functions[name](*map(of, arguments))
        case ast.Subscript(value=inner, slice=key):
            return _property(of(inner), of(key), ast.unparse(inner), text)
    raise UnknownError(f"{text}: {ast.unparse(node)} is not known")


def _property(value: Any, key: Any, path: str, text: str) -> Any:
    if isinstance(value, Open):
        found = value.get(key)
        return Open(found) if isinstance(found, dict) else found
    if value is None and path.startswith("github['event']["):
        return None
    if not isinstance(value, Mapping) or key not in value:
        raise UnknownError(f"{text}: {path} has no {key}")
    return value[key]


def _equal(one: Any, other: Any, text: str) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    if type(one) is type(other) or None in (one, other):
        return bool(one == other)
    raise UnknownError(f"{text}: compares {one!r} with {other!r}, which GitHub would turn into numbers")
