"""The paths of the files that make a release, and the branch that declares releases."""

MODEL = "models/model.onnx"
HOLDOUT = "data/holdout.parquet"
EVALUATION = "metrics/evaluation.json"
DECISIONS = "metrics/decisions.json"
EXPORT = "metrics/export.json"
PERFORMANCE = "metrics/performance.json"
LOCK = "dvc.lock"
PARAMETERS = "params.yaml"
DEPENDENCIES = "requirements.lock"
CODEOWNERS = ".github/CODEOWNERS"

MAIN = "refs/heads/main"
