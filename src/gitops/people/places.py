"""Places: everywhere that photographs, labels, scores, names or embeddings of people are.

`docs/people.md` has the table that `table` makes of it, retention knows the folders of an environment from
it, and a test finds a new output or folder that it does not have.
"""

from dataclasses import dataclass
from pathlib import Path

PHOTOGRAPHS, LABELS, SCORES, NAMES, EMBEDDINGS, DIGESTS = (
    "photographs",
    "labels",
    "scores",
    "names",
    "embeddings",
    "digests",
)
"""The kinds of data. A name identifies a photograph or a person: an id, a path, a number."""

_DVC = "everybody with a key of the DVC remote"
_GIT = "everybody who may read the repository"
_ENVIRONMENT = "the tasks of the environment, and who administers its machine"
_FORGET = "`gitops forget`"


@dataclass(frozen=True)
class Place:
    """One place.

    Attributes:
        where: The path, as people write it.
        holds: The kinds of data there.
        readers: Who reads it.
        kept: How long it stays without anybody's doing.
        erase: The way to erase one person there.
        out: The output of `dvc.yaml`, or the folder of data in the repository; "" for another place.
        home: The folder in the data folder of an environment; "" for another place.

    """

    where: str
    holds: tuple[str, ...]
    readers: str
    kept: str
    erase: str
    out: str = ""
    home: str = ""


def _out(path: str, holds: tuple[str, ...], kept: str = "for ever, by digest", erase: str = _FORGET) -> Place:
    return Place(f"`{path}` (DVC)", holds, _DVC, kept, erase, out=path)


def _home(name: str, holds: tuple[str, ...], kept: str, erase: str = _FORGET) -> Place:
    return Place(f"`{name}/` of an environment", holds, _ENVIRONMENT, kept, erase, home=name)


PLACES = (
    Place(
        "the folder that `CELEBA_DIR` names",
        (PHOTOGRAPHS, LABELS, NAMES),
        "the stage `collect`, and who administers the machine",
        "until you delete it",
        "you delete the files; `collect` takes none of them again",
    ),
    _out("data/raw", (PHOTOGRAPHS, LABELS, NAMES)),
    _out("data/people.csv", (NAMES,)),
    _out("data/labelled", (PHOTOGRAPHS, LABELS, NAMES)),
    _out("data/prepared", (PHOTOGRAPHS, LABELS)),
    _out("data/holdout.parquet", (PHOTOGRAPHS, LABELS, NAMES)),
    _out("data/sample.parquet", (PHOTOGRAPHS, LABELS, NAMES)),
    _out("data/reference.parquet", (SCORES, EMBEDDINGS, NAMES)),
    _out("plots/worst_errors.jpg", (PHOTOGRAPHS, LABELS, NAMES)),
    Place(
        "`models/` (DVC)",
        (),
        _DVC,
        "for ever, by digest",
        "a training without the person: weights are not unlearned",
    ),
    Place(
        "`metrics/decisions.json` (git)",
        (LABELS, SCORES, DIGESTS),
        _GIT,
        "for ever, in each commit",
        "stays: it has eight bytes of a digest for each hold-out photograph",
        out="metrics/decisions.json",
    ),
    Place(
        "`data/forgotten.json` (git)",
        (DIGESTS,),
        _GIT,
        "for ever, or the photograph would be collected again",
        "stays: it has digests alone",
    ),
    Place(
        "`data/labelled/*.dvc` (git)",
        (NAMES,),
        _GIT,
        "for ever, in each commit",
        "main's is written without them; earlier commits keep the names of files that could not be used",
    ),
    _home("incoming", (PHOTOGRAPHS, SCORES, EMBEDDINGS, NAMES), "until it is scored"),
    _home("scored", (PHOTOGRAPHS, NAMES), "`RETENTION_DAYS_SCORED`; of the service `SERVING_KEEP_DAYS`"),
    _home("quarantine", (PHOTOGRAPHS, NAMES), "`RETENTION_DAYS_QUARANTINE`"),
    _home("scores", (SCORES, EMBEDDINGS, NAMES, DIGESTS), "`RETENTION_DAYS_SCORES`"),
    _home(
        "shadows",
        (SCORES, EMBEDDINGS, NAMES, DIGESTS),
        "until the next shadow, and `RETENTION_DAYS_SCORES`",
    ),
    _home("parts", (SCORES, EMBEDDINGS, NAMES, DIGESTS), "until the batch is joined"),
    _home("labels", (LABELS, NAMES), "`RETENTION_DAYS_LABELS`"),
    _home("labelled", (PHOTOGRAPHS, LABELS, NAMES), "`RETENTION_DAYS_LABELLED`"),
    _home("runs", (PHOTOGRAPHS, LABELS, NAMES), "the newest 200, and `RETENTION_DAYS_RUNS`"),
    _home("references", (SCORES, EMBEDDINGS, NAMES), "the newest 50"),
    _home(
        "monitoring",
        (NAMES,),
        "`RETENTION_DAYS_REPORTS`",
        "the time: reports have figures, and names of batches; none of a photograph",
    ),
    _home(
        "readings",
        (NAMES,),
        "`RETENTION_DAYS_REPORTS`",
        "the time: it has names of clients and batches; none of a photograph",
    ),
    _home(
        "workspaces",
        (PHOTOGRAPHS, LABELS, SCORES, NAMES),
        "minutes to hours: one step, or longer after a kill",
    ),
    Place(
        "memory of the online service",
        (PHOTOGRAPHS, SCORES),
        "the process of the release",
        "one request",
        "nothing stays",
    ),
    Place(
        "the DVC remote",
        (PHOTOGRAPHS, LABELS, SCORES, NAMES, EMBEDDINGS),
        _DVC,
        "`RETENTION_DAYS_OBJECTS` after nobody needs it, and as long in the trash",
        _FORGET,
    ),
    Place(
        "caches of DVC: `.visage/dvc-cache`, `.dvc/cache`, those of workers",
        (PHOTOGRAPHS, LABELS, SCORES, NAMES, EMBEDDINGS),
        "the owner of the machine",
        "until `gitops prune`",
        f"{_FORGET} `--cache`, on each machine",
    ),
    Place(
        "checkouts of people: `data/`, `plots/`",
        (PHOTOGRAPHS, LABELS, SCORES, NAMES, EMBEDDINGS),
        "their owners",
        "until their owners remove it",
        f"{_FORGET} in the checkout that it runs in; in another one its owner runs it too",
    ),
    Place(
        "backups: `backups/*/home.tar`, `store.tar`",
        (PHOTOGRAPHS, LABELS, SCORES, NAMES, EMBEDDINGS),
        "who may read the folder",
        "until you delete them",
        f"{_FORGET} `--backup`; if another program encrypted it: delete it, and make another",
    ),
    Place(
        "logs and database of Airflow",
        (NAMES,),
        "who may log in to the environment",
        "`KEEP_LOG_DAYS`, `KEEP_RUN_DAYS`",
        "the time: a log may name a file that could not be used",
    ),
    Place(
        "runners of a forge",
        (PHOTOGRAPHS, LABELS, NAMES),
        "the forge",
        "one job; with `data.source: celeba` no photograph gets to a runner that is not yours",
        "the time: no job keeps hold-out sets",
    ),
)
"""The places, in the order of the page."""

WITHOUT_PEOPLE = frozenset(
    {
        "models/model.onnx",
        "models/model.pt",
        "models/variants",
        "metrics/card.json",
        "metrics/card.md",
        "metrics/data.json",
        "metrics/evaluation.json",
        "metrics/explanations.json",
        "metrics/export.json",
        "metrics/groups.json",
        "metrics/performance.json",
        "metrics/search.json",
        "metrics/summary.json",
        "metrics/training.json",
        "plots/attributes.csv",
        "plots/calibration.csv",
        "plots/data.jpg",
        "plots/learning_curve.csv",
        "plots/roc.csv",
        "plots/served_worst.jpg",
        "plots/slices.csv",
        "search/best.json",
        "search/trials.csv",
    }
)
"""Outputs of the pipeline with nothing about one person; the pictures show drawn faces alone."""

HOME_WITHOUT_PEOPLE = frozenset({"comparisons", "models", "origin.git", "raw", "retention.jsonl", "serving"})
"""Folders of an environment with nothing about one person; `raw` has drawn faces, `serving` checkouts."""


def outputs() -> frozenset[str]:
    """Return the outputs of the pipeline, and folders of data, that hold something about people."""
    return frozenset(place.out for place in PLACES if place.out)


def folders() -> tuple[str, ...]:
    """Return the folders of an environment that hold something about people."""
    return tuple(place.home for place in PLACES if place.home)


def table() -> str:
    """Return the tables of the page, as Markdown: one for each group of places with the same readers."""
    groups = (
        (f"{_DVC} reads these places under DVC. They stay for ever, by digest:", ("place", "holds")),
        (f"{_ENVIRONMENT}, read these folders of an environment:", ("place", "holds", "how long")),
        ("The others:", ("place", "holds", "who reads it", "how long")),
    )
    parts: list[str] = []
    for number, (title, columns) in enumerate(groups):
        lines = [f"| {' | '.join(columns)} | another way to erase |", f"|{'---|' * (len(columns) + 1)}"]
        for place in PLACES:
            if number == (0 if place.out and place.readers == _DVC else 1 if place.home else 2):
                cells = {
                    "place": place.where.removesuffix(" (DVC)").removesuffix(" of an environment"),
                    "holds": ", ".join(place.holds) or "none",
                    "who reads it": place.readers,
                    "how long": place.kept,
                }
                erase = "" if place.erase == _FORGET else place.erase
                lines.append(f"| {' | '.join(cells[column] for column in columns)} | {erase} |")
        parts.append(f"{title[:1].upper()}{title[1:]}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


BEGIN, END = "<!-- places -->", "<!-- end of places -->"


def update(page: Path) -> None:
    """Put the table into a page, between its marks."""
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page}: has no marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{table()}\n{END}{after}", "utf-8")
