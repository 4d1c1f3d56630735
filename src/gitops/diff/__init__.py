"""The differences between two commits: settings, DAGs, data, parameters and metrics."""
