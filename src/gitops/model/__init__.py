"""The model of a commit: its metrics, and its file."""

from gitops.compatibility import attributes_of

__getattr__ = attributes_of(__name__)
