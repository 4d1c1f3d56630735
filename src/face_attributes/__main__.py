"""`python -m face_attributes`."""

from face_attributes.cli import main

if __name__ == "__main__":  # processes of a training import this module, too
    main()
