"""Expressions of GitHub Actions, `${{ ... }}`, as far as the workflows here use them.

Whatever is not known here is an error, never an empty string: GitHub's way of taking a misspelt name for
nothing is how a workflow comes to skip its checks.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|(?P<sign>&&|\|\||==|!=|[!().,\[\]]))"
)
_PLACE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_CONSTANTS = {"true": True, "false": False, "null": None}


class UnknownError(Exception):
    """An expression, or a part of a workflow, that this tool does not know."""


class Open(dict[str, Any]):
    """A part of a context in which a missing key is null: what an event carries depends on the event."""


Functions = Mapping[str, Callable[..., Any]]


def evaluate(text: str, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """Evaluate one expression, without its `${{ }}`."""
    parser = _Parser(_tokens(text), contexts, functions, text)
    value = parser.either()
    if parser.left():
        raise UnknownError(f"{text}: cannot be read from {parser.left()[0][1]!r} on")
    return value


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


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise UnknownError(f"{text}: cannot be read from {text[at:].strip()[:20]!r} on")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    return found


class _Parser:
    def __init__(
        self,
        tokens: Sequence[tuple[str, str]],
        contexts: Mapping[str, Any],
        functions: Functions,
        text: str,
    ) -> None:
        self.tokens, self.at, self.text = list(tokens), 0, text
        self.contexts, self.functions = contexts, functions

    def left(self) -> list[tuple[str, str]]:
        return self.tokens[self.at :]

    def take(self, *signs: str) -> str | None:
        if self.left() and self.left()[0] in [("sign", sign) for sign in signs]:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def need(self, sign: str) -> None:
        if self.take(sign) is None:
            raise UnknownError(f"{self.text}: no {sign} where there should be one")

    # Both sides are always evaluated, so that what is not known is found on either.
    def either(self) -> Any:
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = value if truth(value) else other
        return value

    def both(self) -> Any:
        value = self.equal()
        while self.take("&&"):
            other = self.equal()
            value = other if truth(value) else value
        return value

    def equal(self) -> Any:
        value = self.unary()
        while sign := self.take("==", "!="):
            value = _equal(value, self.unary(), self.text) == (sign == "==")
        return value

    def unary(self) -> Any:
        if self.take("!"):
            return not truth(self.unary())
        if self.take("("):
            value = self.either()
            self.need(")")
            return value
        return self.reached(*self.start())

    def start(self) -> tuple[Any, str]:
        if not self.left():
            raise UnknownError(f"{self.text}: ends too early")
        kind, text = self.left()[0]
        self.at += 1
        if kind == "string":
            return text[1:-1].replace("''", "'"), text
        if kind == "number":
            return float(text) if "." in text else int(text), text
        if kind != "name":
            raise UnknownError(f"{self.text}: {text!r} where there should be a value")
        if self.take("("):
            return self.call(text), f"{text}()"
        if text in _CONSTANTS:
            return _CONSTANTS[text], text
        if text not in self.contexts:
            raise UnknownError(f"{self.text}: no context {text}")
        return self.contexts[text], text

    def call(self, name: str) -> Any:
        if name not in self.functions:
            raise UnknownError(f"{self.text}: no function {name}")
        arguments = []
        if not self.take(")"):
            arguments.append(self.either())
            while self.take(","):
                arguments.append(self.either())
            self.need(")")
        return self.functions[name](*arguments)

    def reached(self, value: Any, path: str) -> Any:
        while True:
            if self.take("."):
                kind, key = self.left()[0] if self.left() else ("", "")
                if kind != "name":
                    raise UnknownError(f"{self.text}: no name behind {path}.")
                self.at += 1
            elif self.take("["):
                key = self.either()
                self.need("]")
            else:
                return value
            value, path = _property(value, key, path, self.text), f"{path}.{key}"


def _property(value: Any, key: Any, path: str, text: str) -> Any:
    if isinstance(value, Open):
        found = value.get(key)
        return Open(found) if isinstance(found, dict) else found
    if value is None and path.startswith("github.event."):
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
