"""A training run: its stages, its candidate, its archive, and verification."""
