"""`python -m infra.scaffold`."""

from infra.scaffold.cli import app

app()
