"""Which release runs where: release files, promotion, gates, verdicts, and the bundle that serves them."""

from gitops import compatibility

compatibility.install()
