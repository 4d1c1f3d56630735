"""The rules of promotion, and the proposals, checks and merges that keep to them."""
