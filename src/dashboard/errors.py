"""Errors that the page shows in place of the part that cannot be read."""


class DashboardError(Exception):
    """Something cannot be read. The message names it and the remedy."""
