"""What a team on GitHub sees of the releases: pull requests, comments, checks and rulesets."""
