"""The outline of a DAG file, read from its syntax: nothing of the file is executed.

It shows the DAGs and tasks that the text names, and their arguments. It cannot show the results of
computations: for those, Airflow has to load the file.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

LONGEST = 1_000_000
"""The longest file that is read, in bytes."""
_DAG, _TASK = "DAG", "task"


@dataclass(frozen=True)
class Outline:
    """The DAGs and the tasks that a file names, each with the arguments that it gives them.

    `problem` is the reason why the file has no outline, or "".
    """

    dags: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    tasks: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    problem: str = ""


def read(content: bytes) -> Outline:
    """Return the outline of a DAG file. A file that cannot be read has a problem and nothing else."""
    if len(content) > LONGEST:
        return Outline(problem=f"larger than {LONGEST:,} bytes")
    try:
        named = list(_named(ast.parse(content)))
    except SyntaxError as error:
        return Outline(problem=f"SyntaxError: {error.msg} (line {error.lineno})")
    except (ValueError, RecursionError, MemoryError) as error:
        return Outline(problem=f"{type(error).__name__}: no Python that can be read")
    return Outline(
        {name: arguments for kind, name, arguments in named if kind == _DAG},
        {name: arguments for kind, name, arguments in named if kind == _TASK},
    )


def compare(old: Outline, new: Outline) -> list[str]:
    """Return a line for each difference between two outlines of a file."""
    if new.problem:
        return [new.problem]
    lines: list[str] = []
    for kind, before, after in ((_DAG, old.dags, new.dags), (_TASK, old.tasks, new.tasks)):
        for name in [*before, *(name for name in after if name not in before)]:
            if name not in before or name not in after:
                lines.append(f"{kind} {name}: {'added' if name in after else 'removed'}")
                continue
            was, now = before[name], after[name]
            lines += [
                f"{kind} {name}: {key} {was.get(key, 'none')} -> {now.get(key, 'none')}"
                for key in dict.fromkeys([*was, *now])
                if was.get(key) != now.get(key)
            ]
    return lines


def _named(tree: ast.Module) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield each DAG and task: its kind, its name and its arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                words = _words(call.func if call else decorator)
                kind = {"dag": _DAG, "task": _TASK}.get(words[0]) if words else None
                if kind:
                    arguments = _arguments(call)
                    key = "dag_id" if kind == _DAG else "task_id"
                    yield kind, _constant(arguments.pop(key, None)) or node.name, arguments
        elif isinstance(node, ast.Call):
            arguments = _arguments(node)
            if _words(node.func)[-1:] == [_DAG]:
                first = ast.unparse(node.args[0]) if node.args else None
                yield _DAG, _constant(arguments.pop("dag_id", first)) or "(computed)", arguments
            elif name := _constant(arguments.pop("task_id", None)):
                yield _TASK, name, arguments


def _words(node: ast.expr) -> list[str]:
    """Return the words of a dotted name: `task.branch` has two. Of anything else there are none."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := _words(node.value)):
        return [*before, node.attr]
    return []


def _arguments(call: ast.Call | None) -> dict[str, str]:
    keywords = call.keywords if call else []
    return {keyword.arg: ast.unparse(keyword.value) for keyword in keywords if keyword.arg}


def _constant(text: str | None) -> str | None:
    """Return the value of a constant of text, or None for any other expression."""
    if text is None:
        return None
    value = ast.parse(text, mode="eval").body
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
