"""Everything that reads or runs DVC: dvc.lock, dvc.yaml, the parameters, and the DVC remote."""
