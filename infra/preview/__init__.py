"""Previews: environments that run a branch for some hours, apart from all others."""
