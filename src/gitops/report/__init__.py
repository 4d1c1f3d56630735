"""The report of a change, as Markdown for a pull request."""
