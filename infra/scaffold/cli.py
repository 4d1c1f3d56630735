"""The command line of the scaffold; `make new-dag` calls it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.scaffold import files, name
from infra.scaffold.errors import ScaffoldError

CHECKOUT = Path(__file__).resolve().parents[2]

app = typer.Typer(
    name="python -m infra.scaffold",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def new_dag(
    dag: Annotated[
        str, typer.Argument(metavar="NAME", help="The DAG's id, in small letters, such as count_faces")
    ],
) -> None:
    """Make a DAG with the defaults of all DAGs, its test and its runbook.

    They are dags/NAME_dag.py, tests/dags/test_NAME_dag.py and docs/runbooks/NAME.md.

    It runs as it is, reads its release from git and leaves a file in the environment's data folder; change it
    into what you need. It passes the policy of all DAGs (tests/dags/test_policy.py), and starts paused.
    """
    try:
        made = files.render(name.check(dag, CHECKOUT / "dags", files.used_names()))
        files.write(CHECKOUT, made)
    except ScaffoldError as error:
        print(f"new-dag: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    dag_file, test_file, runbook = made
    print(f"Made {dag_file}, {test_file} and {runbook}. Change them, then")
    print(f"  check:  .venv/bin/python -m pytest tests/dags/test_policy.py {test_file}")
    print(f"  run:    .venv/bin/python -m infra.dag_smoke_test --dag {dag}")
    print(f"  unpause: {dag} in ACTIVE_DAGS of environments/<env>/settings.env, or in the web interface")
