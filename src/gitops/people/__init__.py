"""Data about people: where it is, how long it stays, and how it is removed."""
