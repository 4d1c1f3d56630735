"""The parts that run inside Airflow (bundle, callbacks, context of a task) and the client of its API."""
