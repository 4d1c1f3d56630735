"""`python -m gitops` is `gitops`."""

from gitops.cli import app

app(prog_name="gitops")
