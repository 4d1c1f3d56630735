"""Scoring in an environment, and the checks of drift and performance."""
