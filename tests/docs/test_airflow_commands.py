"""Every command of Airflow, and every service of Docker Compose, that a page shows is one that there is."""

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT, SHELL, Page, pages
from tests.support.environments import ENVIRONMENTS

GUIDE = [Page(Path(f"docs/{name}.md")) for name in ("airflow-guide", "airflow-settings", "write-a-dag")]
COMMANDS = Page(Path("docs/airflow-2-commands.md"))
# The subcommands that take the name of a service, and nothing else after it.
OF_SERVICES = {"logs", "restart", "exec", "stop", "start"}


@cache
def parser() -> ArgumentParser:
    """Airflow's own parser."""
    from airflow.cli import cli_parser

    return cli_parser.get_parser()


@cache
def services() -> set[str]:
    """The services of docker-compose.yml and what it includes."""
    main = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    included = [yaml.safe_load((ROOT / one["path"]).read_text()) for one in main["include"]]
    return {name for file in [main, *included] for name in file.get("services", {})}


def problem(command: str) -> str | None:
    """Why a command line cannot be; None where it can, or is of another program."""
    words = shlex.split(command, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    if words[:2] == ["docker", "compose"]:
        return _compose(words[2:])
    if words[1:4] == ["-m", "infra.local", "airflow"] and len(words) > 5:
        if words[4] not in ENVIRONMENTS:
            return f"{words[4]}: no such environment"
        return _airflow(words[5:])
    if words[:1] == ["airflow"]:
        return _airflow(words[1:])
    return None


def _airflow(words: list[str]) -> str | None:
    words = words[: words.index("|")] if "|" in words else words
    try:
        given = parser().parse_args(words)
    except SystemExit as ended:
        # Airflow's parser ends the process with 0 for --help and with more for what it does not know.
        return f"airflow {shlex.join(words)}: Airflow does not take it" if ended.code else None
    # Airflow 3.3 looks for it as text in the tasks' ids, and clears nothing, without a word, where it is not.
    part = getattr(given, "task_regex", None)
    if words[:2] == ["tasks", "clear"] and part and not re.fullmatch(r"[\w.-]+", part):
        return f"airflow {shlex.join(words)}: {part} is in no task's id"
    return None


def _compose(words: list[str]) -> str | None:
    while words and words[0].startswith("-"):
        takes_value = words[0] in ("-p", "--env-file", "--profile", "-f")
        del words[: 2 if takes_value else 1]
    if not words or words[0] not in OF_SERVICES:
        return None
    subcommand, *rest = words
    named = [word for word in rest if not word.startswith("-")]
    if named and named[0] not in services():
        return f"docker compose {subcommand}: no service {named[0]}"
    if subcommand == "exec" and named[1:2] == ["airflow"]:
        return _airflow(rest[rest.index("airflow") + 1 :])
    return None


def lines(page: Page) -> Iterator[tuple[str, str]]:
    """(where, command) of each command of a page's shell blocks, however many lines it takes."""
    for block in page.blocks:
        if block.language not in SHELL:
            continue
        command = ""
        for line in block.text.replace("\\\n", " ").splitlines():
            command += line
            try:
                shlex.split(command, comments=True)
            except ValueError:  # a quotation goes on
                command += "\n"
                continue
            yield str(block), command.strip()
            command = ""
        assert not command, f"{block}: a quotation without end: {command}"


def test_each_command_of_a_page_is_one_that_there_is() -> None:
    found = [(where, problem(command)) for page in pages() for where, command in lines(page)]
    assert [f"{where}: {why}" for where, why in found if why] == []
    assert sum(command.startswith("airflow ") for page in GUIDE for _, command in lines(page)) > 20


def test_what_one_types_now_is_what_there_is() -> None:
    shown = [command for row in COMMANDS.rows for command in row[1:2] if command]
    shown += [command for _, command in lines(COMMANDS)]
    commands = [command for cell in shown for command in cell.splitlines()]
    assert [why for command in commands if (why := problem(command))] == []
    assert sum("airflow-scheduler airflow " in command for command in commands) > 10


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("airflow dags list", None),
        ("airflow dags list | head", None),
        ("A=b airflow dags trigger x --help", None),
        ("docker compose up -d", None),
        ("docker compose logs -f airflow-scheduler", None),
        ("docker compose -p visage-prod exec airflow-webserver cat /x", None),
        ("docker compose exec -T airflow-scheduler airflow tasks test a b 2024-01-01", None),
        ("git push", None),
        ("airflow dags backfill my_dag --start-date 2024-01-01", "Airflow does not take it"),
        ("airflow webserver", "Airflow does not take it"),
        ("airflow tasks clear my_dag --task-regex report --yes", None),
        ("airflow tasks clear my_dag --task-regex '^report$' --yes", "is in no task's id"),
        (".venv/bin/python -m infra.local airflow dev tasks logs a b", "Airflow does not take it"),
        (".venv/bin/python -m infra.local airflow qa dags list", "no such environment"),
        ("docker compose exec airflow-scheduler airflow dags backfill x", "Airflow does not take it"),
        ("docker compose restart webserver", "no service webserver"),
    ],
)
def test_a_command_that_is_gone_is_found(
    command: str, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = problem(command)
    assert (found is None) if said is None else (said in (found or ""))
