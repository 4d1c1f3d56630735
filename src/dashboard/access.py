"""Access control: users who may read the monitoring DAG may see the page.

Airflow does not check the session before it passes a request to the app of a plugin.
"""

from airflow.api_fastapi.core_api.security import requires_access_dag

# Without this, the caller could choose the DAG with a parameter of the request.
DAG = "model_monitoring_and_retraining"

may_read = requires_access_dag(method="GET", param_dag_id=DAG)
"""A dependency that answers 401 without a valid session, and 403 if the user may not read the DAG."""
