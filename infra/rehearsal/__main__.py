"""`python -m infra.rehearsal`."""

from infra.rehearsal.cli import app

app()
