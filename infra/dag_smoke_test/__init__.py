"""Smoke test: each DAG under `airflow dags test` in each environment, well and with a planted fault."""
