"""New DAGs of the house's form, each with its test and its runbook."""
