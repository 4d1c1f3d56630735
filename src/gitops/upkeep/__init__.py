"""Upkeep: what an installation keeps over years, what it removes, and whether all that it needs is there."""
