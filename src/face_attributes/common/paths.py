"""The output paths of the stages in the repository, as in `dvc.yaml`."""

from pathlib import Path

# Digests of photographs that are never collected again
FORGOTTEN = Path("data/forgotten.json")
RAW = Path("data/raw")
PEOPLE = Path("data/people.csv")
# Labelled batches that were appended after the raw data was collected; none at first
LABELLED = Path("data/labelled")
LICENCES = Path("data/licences.yaml")
CONTRACT = Path("data/contract.yaml")
PREPARED = Path("data/prepared")
HOLDOUT = Path("data/holdout.parquet")
SAMPLE = Path("data/sample.parquet")
REFERENCE = Path("data/reference.parquet")

BEST = Path("search/best.json")
TRIALS = Path("search/trials.csv")
SEARCH = Path("metrics/search.json")

WEIGHTS = Path("models/model.pt")
VARIANTS = Path("models/variants")
MODEL = Path("models/model.onnx")

DATA = Path("metrics/data.json")
TRAINING = Path("metrics/training.json")
EXPORT = Path("metrics/export.json")
EVALUATION = Path("metrics/evaluation.json")
DECISIONS = Path("metrics/decisions.json")
GROUPS = Path("metrics/groups.json")
CARD = Path("metrics/card.json")
CARD_PAGE = Path("metrics/card.md")
SUMMARY = Path("metrics/summary.json")
PERFORMANCE = Path("metrics/performance.json")
EXPLANATIONS = Path("metrics/explanations.json")

DATA_SHEET = Path("plots/data.jpg")
CURVE = Path("plots/learning_curve.csv")
ACCURACIES = Path("plots/attributes.csv")
SLICES = Path("plots/slices.csv")
ROC = Path("plots/roc.csv")
CALIBRATION = Path("plots/calibration.csv")
SERVED_WORST = Path("plots/served_worst.jpg")
WORST_ERRORS = Path("plots/worst_errors.jpg")
