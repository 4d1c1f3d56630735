"""Who may see the page: whoever may read the monitoring DAG, by the auth manager that this Airflow has.

Airflow asks nobody for a session before it hands a request to a plugin's app.
"""

from airflow.api_fastapi.core_api.security import requires_access_dag

# Named here: left out, the caller could name one by a parameter of the request.
DAG = "model_monitoring_and_retraining"

may_read = requires_access_dag(method="GET", param_dag_id=DAG)
"""A dependency that answers 401 without a valid session, and 403 where the user may not read the DAG."""
