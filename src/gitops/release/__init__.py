"""The state that main declares: release files, settings, verdicts and signatures."""

from gitops.compatibility import attributes_of

__getattr__ = attributes_of(__name__)
