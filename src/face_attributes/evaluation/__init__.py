"""How good a model is: metrics, slices, comparisons and plots."""
