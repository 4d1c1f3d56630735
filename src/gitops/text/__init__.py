"""Bounded parsers, and Markdown."""
