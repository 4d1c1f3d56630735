"""The history of the releases, from git alone: its events, its measures, and the present."""
