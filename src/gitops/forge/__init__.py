"""GitHub: pull requests, comments, rulesets and commit statuses."""
