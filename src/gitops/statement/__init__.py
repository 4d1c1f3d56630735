"""Statements about a release's model: its provenance and bill of materials, signed by an environment."""
