"""`python -m infra.dag_smoke_test`."""

from infra.dag_smoke_test.cli import app

app()
