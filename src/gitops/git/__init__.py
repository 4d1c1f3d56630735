"""Git: the only modules that run it."""
