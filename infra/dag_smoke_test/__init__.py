"""Smoke test: each DAG by `airflow dags test` in each environment, with and without an injected failure."""
