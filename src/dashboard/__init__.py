"""The page Visage in the web interface of each Airflow: running release, model, scored images, checks."""
