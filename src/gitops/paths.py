"""The names by which a commit holds what a release is made of, and the branch that declares releases."""

MODEL = "models/model.onnx"
HOLDOUT = "data/holdout.parquet"
EVALUATION = "metrics/evaluation.json"
EXPORT = "metrics/export.json"
PERFORMANCE = "metrics/performance.json"
LOCK = "dvc.lock"
PARAMETERS = "params.yaml"

MAIN = "refs/heads/main"
