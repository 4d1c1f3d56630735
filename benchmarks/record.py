"""Keep the figures of a training on photographs, beside earlier ones and published ones.

    CELEBA_DIR=... dvc repro
    python -m benchmarks.record deeper-network [--log repro.log]

Copies the parameters, the metrics and the curves of the run to `benchmarks/records/<date>-<name>`, and writes
the leaderboard, `benchmarks/records/README.md`, and a table of the attributes beside the record before.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from face_attributes import params
from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.common.errors import FaceAttributesError
from face_attributes.common.files import replacing_folder
from face_attributes.common.paths import (
    BEST,
    CURVE,
    EVALUATION,
    EXPORT,
    PERFORMANCE,
    SEARCH,
    TRAINING,
    TRIALS,
)
from face_attributes.data.images import shrunk_shape
from face_attributes.model.network import multiplications

RECORDS = Path("benchmarks/records")
FILES = (params.PARAMS_FILE, EVALUATION, TRAINING, SEARCH, EXPORT, PERFORMANCE, CURVE, TRIALS)
CODE = ("src", "dvc.yaml")
# Mean accuracy on the test part of CelebA, of networks that learned from its 162,770 training photographs
PUBLISHED = (
    ("MCNN-AUX (Hand and Chellappa, AAAI 2017)", "", "91.29"),
    ("Slim-CNN (Sharma and Foroosh, 2019, arXiv:1907.02157)", "0.6 million", "91.24"),
    ("LNets+ANet (Liu et al., ICCV 2015)", "", "87.33"),
)
# Accuracy of LNets+ANet on the same part, in per cent: Liu et al., Deep Learning Face Attributes in the Wild,
# ICCV 2015, table 1
_LNETS_ANET = """
    91 79 81 79 98 95 68 78 88 95 84 80 90 91 92 99 95 97 90 87
    98 92 95 81 95 66 91 72 89 90 96 92 73 80 82 99 93 71 93 87
"""
LNETS_ANET = dict(zip(CELEBA_ATTRIBUTES, map(int, _LNETS_ANET.split()), strict=True))


@dataclass(frozen=True)
class Record:
    """A record: its folder, and its figures as in `record.json`."""

    name: str
    figures: dict[str, Any]
    evaluation: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """Read a record."""
        return cls(folder.name, _json(folder / "record.json"), _json(folder / EVALUATION.name))


def keep(name: str, root: Path, now: datetime, log: Path | None = None) -> Path:
    """Copy the files of the run in `root` to a new record, and return its folder.

    Raises:
        ValueError: The run is not one of photographs, with the code of its commit and the files that are
            there; or the name or the log cannot be used. Nothing is written.

    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"{name[:80]!r}: a name has small letters, digits and hyphens, as in deeper-network")
    folder = root / RECORDS / f"{now:%Y-%m-%d}-{name}"
    missing = [path for path in (*FILES, BEST) if not (root / path).is_file()]
    if missing:
        raise ValueError(f"{missing[0]}: no such file; run dvc repro first")
    if log is not None and not log.is_file():
        raise ValueError(f"{log}: no such file")
    if folder.exists():
        raise ValueError(f"{folder}: this record is there; give another name")
    if changed := _git(root, "status", "--porcelain", "--", *CODE):
        raise ValueError(
            f"{changed.split()[-1]}: differs from its commit; commit it, and run dvc repro again"
        )
    chosen = params.load(root / params.PARAMS_FILE)
    if chosen.data.source == "synthetic":
        raise ValueError(f"{params.PARAMS_FILE}: data.source is synthetic; a record is of photographs")
    command = [sys.executable, "-m", "dvc", "status", "--quiet"]
    if subprocess.run(command, cwd=root, check=False).returncode:
        raise ValueError("dvc.lock: the results are not those of this code and data; run dvc repro first")
    training, evaluation = _json(root / TRAINING), _json(root / EVALUATION)
    attributes, width = len(evaluation["per_attribute"]), _json(root / BEST)["width"]
    figures = {
        "commit": _git(root, "rev-parse", "HEAD"),
        "source": chosen.data.source,
        "weights": training["weights"],
        "multiplications": multiplications(attributes, shrunk_shape(chosen.prepare.shrink), width),
        "train_images": training["train_images"],
        "minutes": round((training["seconds"] + _json(root / SEARCH)["seconds"]) / 60, 1),
    }
    with replacing_folder(folder) as partial:
        for path in FILES:
            shutil.copy(root / path, partial / path.name)
        if log is not None:
            shutil.copy(log, partial / "log.txt")
        (partial / "record.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return folder


def leaderboard(records: list[Record]) -> str:
    """Return the page of all records, the most accurate first."""
    lines = [
        "# Records",
        "",
        "Trainings on photographs by the pipeline, each with its parameters, metrics and log.",
        "`python -m benchmarks.record` adds one. *Multiplications* are those of the network for one image;",
        "*minutes* are those of search and training. Minutes of different machines do not compare.",
        "",
        "| record | mean accuracy (95 %) | balanced | ROC AUC | below the majority | weights "
        "| multiplications | photographs to learn | minutes | commit |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|---|",
    ]
    for record in sorted(records, key=lambda one: -one.evaluation["mean_accuracy"]):
        of, figures = record.evaluation, record.figures
        lines.append(
            f"| [{record.name}]({record.name}/) | {_percent(of, 'mean_accuracy')} "
            f"| {100 * of['mean_balanced_accuracy']:.2f} | {100 * of['mean_roc_auc']:.2f} "
            f"| {', '.join(_below(of)) or 'none'} | {figures['weights'] / 1e6:.2f} million "
            f"| {figures['multiplications'] / 1e6:.0f} million | {figures['train_images']:,} "
            f"| {figures['minutes']:.0f} | {figures['commit'][:12]} |"
        )
    lines += ["", "Published, with all 162,770 training photographs of CelebA:", ""]
    lines += ["| network | weights | mean accuracy |", "|---|---:|---:|"]
    lines += [f"| {name} | {weights} | {accuracy} |" for name, weights, accuracy in PUBLISHED]
    return "\n".join(lines) + "\n"


def attributes(record: Record, before: Record | None) -> str:
    """Return the accuracies of the attributes, beside those of an earlier record and published ones."""
    other = {} if before is None else before.evaluation["per_attribute"]
    lines = [
        f"# Attributes of {record.name}",
        "",
        f"| attribute | accuracy (95 %) | majority | balanced | {before.name if before else 'before'} "
        "| LNets+ANet |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, of in record.evaluation["per_attribute"].items():
        earlier = f"{100 * other[name]['accuracy']:.1f}" if name in other else ""
        balanced = "" if of["balanced_accuracy"] is None else f"{100 * of['balanced_accuracy']:.1f}"
        majority = 100 * of["majority_accuracy"]
        lines.append(
            f"| {name} | {_percent(of, 'accuracy', 1)} | {majority:.1f} | {balanced} | {earlier} "
            f"| {LNETS_ANET.get(name, '')} |"
        )
    return "\n".join(lines) + "\n"


def _below(evaluation: dict[str, Any]) -> list[str]:
    return [
        name for name, of in evaluation["per_attribute"].items() if of["accuracy"] < of["majority_accuracy"]
    ]


def _percent(of: dict[str, Any], name: str, digits: int = 2) -> str:
    value, low, high = (100 * of[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(root: Path, folder: Path) -> None:
    """Write the leaderboard, and the table of attributes of a new record beside the record before."""
    folders = sorted(path.parent for path in (root / RECORDS).glob("*/record.json"))
    records = [Record.load(one) for one in folders]
    present = next(record for record in records if record.name == folder.name)
    earlier = [record for record in records if record.name < present.name]
    (root / RECORDS / "README.md").write_text(leaderboard(records), "utf-8")
    (folder / "attributes.md").write_text(attributes(present, earlier[-1] if earlier else None), "utf-8")


def main() -> None:
    """Keep the run of this checkout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="of the record, such as deeper-network")
    parser.add_argument("--log", type=Path, help="the output of dvc repro")
    options = parser.parse_args()
    try:
        folder = keep(options.name, Path(), datetime.now(UTC), options.log)
    except (ValueError, FaceAttributesError) as error:
        parser.error(str(error))
    write(Path(), folder)
    print(f"{folder} and {RECORDS / 'README.md'} are written; look at them, and commit them.")


if __name__ == "__main__":
    main()
