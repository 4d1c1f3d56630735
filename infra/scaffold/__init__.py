"""New DAGs, each with its test and its runbook."""
