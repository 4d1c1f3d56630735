"""Shared code of the DAGs. It is fast to import, because it loads no library of the model."""
