"""What keeps the page from showing something, as the one line that it shows instead."""


class DashboardError(Exception):
    """Something cannot be read; the text says what, and what to do."""
