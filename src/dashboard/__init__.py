"""The page Visage in the web interface of each Airflow: what runs here, how good it is, what it has met."""
