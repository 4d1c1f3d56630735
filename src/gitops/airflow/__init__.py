"""What runs inside an Airflow, and the client that asks one: the bundle, callbacks, the context of a task."""
