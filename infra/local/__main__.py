"""`python -m infra.local`."""

from infra.local.cli import app

app()
