"""The search for hyperparameters, and the training."""
