"""Smoke test: each DAG under `airflow dags test` in each environment, without and with a planted fault."""
