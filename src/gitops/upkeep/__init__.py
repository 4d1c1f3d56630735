"""Upkeep: the things that an installation keeps over years, and the check that all of them are there."""
