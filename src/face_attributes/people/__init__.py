"""People: the photographs, labels and scores of a person, found and removed in files of any kind."""
