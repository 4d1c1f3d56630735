"""The face-attribute model: collect -> prepare -> tune -> train -> export -> evaluate -> score."""
