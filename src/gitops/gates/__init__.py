"""The gates that a model passes before an environment runs it."""
