"""The local engine: three Airflows as processes on one machine that has Python and git."""
