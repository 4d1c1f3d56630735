"""The environments of this checkout, for tests that hold for each of them."""

from pathlib import Path

from gitops.release.environments import Environments

ROOT = Path(__file__).resolve().parents[2]
THESE = Environments.from_folder(ROOT)
ENVIRONMENTS = THESE.names
