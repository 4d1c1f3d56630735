"""`python -m face_attributes`."""

from face_attributes.cli import main

main()
