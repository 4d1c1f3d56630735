"""The model card: everything that a release states about its model, on one page."""
