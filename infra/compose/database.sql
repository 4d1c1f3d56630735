-- Run once, when the server of an environment makes its data folder: a role without privileges for Airflow.
-- The superuser, postgres, has no password, so it logs in only on the socket inside the container.
\set ON_ERROR_STOP on
\getenv password POSTGRES_PASSWORD
CREATE ROLE airflow LOGIN PASSWORD :'password';
CREATE DATABASE airflow OWNER airflow;
REVOKE ALL ON DATABASE airflow, postgres, template1 FROM PUBLIC;
ALTER ROLE CURRENT_USER PASSWORD NULL;
