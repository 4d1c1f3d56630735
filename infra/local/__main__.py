"""`python -m infra.local`."""

from gitops.isolation import hide
from infra.local.cli import app

hide()  # it handles the passwords of the environments
app()
