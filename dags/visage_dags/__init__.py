"""What the DAGs of Visage share. Light to import: nothing here loads a library of the model."""
