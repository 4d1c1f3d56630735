"""The runtime: this `gitops`, and the Airflow that it runs in."""

CONTRACT = 2
"""The number of the contract that `gitops.tasks` keeps. It grows with each name that is added there."""
