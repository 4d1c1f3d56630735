"""How often the gates refuse the same recipe with another seed.

    dvc repro
    python -m benchmarks.retrained --seeds 6 --update benchmarks/results/gates.md

Trains the network of `params.yaml` with each seed, without a search, and exports it. Each model is then the
candidate of each other one, and the gates of dev compare their decisions on the hold-out set. The models are
not equal: a seed may be truly worse at an attribute.
"""

import argparse
import itertools
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.population import updated
from face_attributes import params
from face_attributes.common.paths import HOLDOUT, PREPARED, SAMPLE
from face_attributes.evaluation import decisions
from face_attributes.evaluation.predictions import predict
from face_attributes.model.export import export
from face_attributes.model.onnx_model import Model
from face_attributes.params import SEARCHED, Params
from face_attributes.training import hyperparameters
from face_attributes.training.train import train
from gitops.gates import recorded
from gitops.gates.rows import REGRESSION, Side, answered
from gitops.model.decisions import Decisions
from gitops.release.settings import Settings, load

SEEDS = 6


def decided(options: Params, seed: int, folder: Path) -> Decisions:
    """Train with a seed in an empty folder, and return the decisions about the hold-out set."""
    chosen = options.train.model_copy(update={"seed": seed})
    hyperparameters.write(folder / "best.json", {name: getattr(chosen, name) for name in SEARCHED})
    files = [folder / name for name in ("best.json", "model.pt", "curve.csv", "training.json")]
    train(options.model_copy(update={"train": chosen}), PREPARED, *files)
    path = folder / "model.onnx"
    export(options.export, files[1], SAMPLE, folder / "variants", path, folder / "export.json")
    model = Model(path)
    decisions.write(model, predict(model, HOLDOUT), HOLDOUT, folder / "decisions.json")
    return Decisions.model_validate_json((folder / "decisions.json").read_bytes())


def refusals(models: list[Decisions], settings: Settings) -> tuple[int, int, int, Counter[str]]:
    """Return the pairs of a candidate and an incumbent, those that show losses at the limits, and refusals.

    Refusals are the refused pairs, and how often each gate refused.
    """
    pairs, seen, refused, gates = 0, 0, 0, Counter[str]()
    for candidate, incumbent in itertools.permutations(models, 2):
        side = Side(REGRESSION, "the incumbent", recorded.compare(candidate, incumbent))
        rows = answered([side], settings)
        failed = [row.gate for row in rows if not row.ok]
        pairs, refused = pairs + 1, refused + bool(failed)
        (smallest,) = [row.value for row in rows if row.gate == "smallest loss seen"]
        seen += "too few images" not in smallest
        gates.update(failed)
    return pairs, seen, refused, gates


def main() -> None:
    """Print the table, or write it into a document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", type=Path, metavar="DOCUMENT", help="write the table into this file")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"number of trainings (default: {SEEDS})")
    chosen = parser.parse_args()
    options, models = params.load(), []
    for seed in range(1, chosen.seeds + 1):
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            models.append(decided(options, seed, Path(folder)))
    pairs, seen, refused, gates = refusals(models, load("dev"))
    accuracies = [f"{100 * model.accuracy:.2f}" for model in models]
    row = (
        options.data.source,
        f"{models[0].samples:,}",
        f"{min(accuracies)} to {max(accuracies)}",
        f"{pairs} of {len(models)} seeds",
        f"{seen}",
        f"**{refused / pairs:.0%}** ({refused})",
        ", ".join(f"{gate} {count}" for gate, count in gates.most_common()) or "-",
    )
    table = "\n".join(
        [
            "| source | hold-out | mean accuracy, % | pairs | show losses at the limits | refused | gates |",
            "|---|---:|---:|---:|---:|---:|---|",
            f"| {' | '.join(row)} |",
        ]
    )
    if chosen.update:
        text = chosen.update.read_text(encoding="utf-8")
        chosen.update.write_text(updated(text, {"retrained": table}), encoding="utf-8")
        return
    print(table)


if __name__ == "__main__":
    main()
