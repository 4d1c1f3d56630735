"""The drift check on CelebA's photographs: other people under the same cameras, and changes of the pixels.

`benchmarks.drift --photographs` runs it. The stage `collect` takes the same folder. With CelebA's partition
list the reference comes from the validation part and the days from the test part, and nobody is in both.
With `identity_CelebA.txt` each case is measured twice: with the people of the reference known, and unknown.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import groups_of_people
from benchmarks.weeks import DAYS, Columns, Known, Rates, WeekResult, at_most, columns, groups
from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES, PARTITIONS
from face_attributes.common.paths import MODEL, REFERENCE
from face_attributes.common.sampling import choose
from face_attributes.data import celeba, images
from face_attributes.monitoring import drift
from face_attributes.monitoring.score import score

A_DAY = (100, 300, 1000)
WEEKS, CHANGED_WEEKS, REPEATED_WEEKS = 200, 40, 20
SPLITS = 20  # of the people into reference and days
PART, CHANGED = 5000, 1500  # photographs of a part at most, and of the test part to change
LEARNT = 40_000  # photographs of the training part at most
ROWS = 2000  # of a reference that is drawn here
QUALITY = 95  # of the JPEG files that are written
SEED = 1

Spread = Callable[[Columns, int, Known | int, int], list[WeekResult]]


def _gamma(image: np.ndarray, power: float) -> np.ndarray:
    return 255 * (image / 255) ** power


def _camera(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(int(image.sum())).normal(0, 3, image.shape)
    return _gamma(image, 1.15) * (1.05, 1.0, 0.95) + noise


def _mask(image: np.ndarray) -> np.ndarray:
    masked = image.copy()
    masked[134:192, 46:132] = (196, 214, 226)  # from under the nose to the chin of an aligned face
    return masked


def _zoom(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, 1.1)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they are": lambda image: image,
    "brightness x 0.9": lambda image: image * 0.9,
    "brightness x 0.7": lambda image: image * 0.7,
    "blur of 1 pixel": lambda image: cv2.GaussianBlur(image, (0, 0), 1),
    "another camera": _camera,
    "grey": lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    "a surgical mask": _mask,
    "JPEG of quality 50": lambda image: image,
    "10% larger": _zoom,
}
QUALITIES = {"JPEG of quality 50": 50}
# Attribute, and by how many points its share grows; None: it alone is there, with a minus its absence alone
MIXES: dict[str, tuple[str, float | None]] = {
    "10 points more Male": ("Male", 0.1),
    "10 points more High_Cheekbones": ("High_Cheekbones", 0.1),
    "10 points more Eyeglasses": ("Eyeglasses", 0.1),
    "5 points more Wearing_Hat": ("Wearing_Hat", 0.05),
    "only Male": ("Male", None),
    "none Young": ("-Young", None),
}


def measure(folder: Path, work: Path, model_sha256: str, release: Known, spread: Spread) -> dict[str, str]:
    """Return Markdown tables: `photographs`, of false alarms, `photograph-power`, and `people`, if known."""
    listing = celeba.read(folder, CELEBA_ATTRIBUTES)
    parts = {name: _score_part(listing, name, work) for name in PARTITIONS[1:]}
    names = list(release.columns)
    pools = {name: columns(table, names) for name, table in parts.items()}
    quiet = _quiet(listing, parts, pools, release, spread)
    people = "unknown" if release.people is None else "known"
    title = f"the release's own, people {people}", "test photographs, each twice a day", A_DAY[0]
    quiet[title] = _repeated(parts["test"], A_DAY[0], model_sha256)
    tables = {
        "photographs": _quiet_table(quiet),
        "photograph-power": _power(listing, parts["test"], release, work, spread),
    }
    if listing.people is not None:
        who = dict(zip(listing.ids, listing.people, strict=True))
        parts = {"train": _score_part(listing, "train", work, LEARNT), **parts}
        ids = {name: table.column("id").to_pylist() for name, table in parts.items()}
        pools = {name: columns(table, names) for name, table in parts.items()}
        tables["people"] = groups_of_people.table(who, ids, pools)
    return tables


def _quiet(
    listing: celeba.Listing,
    parts: Mapping[str, pa.Table],
    pools: Mapping[str, Columns],
    release: Known,
    spread: Spread,
) -> dict[tuple[str, str, int], tuple[int, int]]:
    """Return weeks with an alarm, and weeks, by reference, days and images a day."""
    ids = parts["test"].column("id").to_pylist()
    chosen = choose(ids, ROWS)
    rows = np.array([index for index, name in enumerate(ids) if name in chosen])
    cases = [
        ("the release's own", release, "test"),
        (f"{len(rows)} test photographs", _known(listing, pools["test"], ids, rows), "validation"),
    ]
    found = {}
    for title, known, days in cases:
        for people in ("known", "unknown") if known.people is not None else ("unknown",):
            against = known if people == "known" else Known(known.columns, None)
            for a_day in A_DAY:
                rates = Rates.of(spread(pools[days], a_day, against, WEEKS))
                found[f"{title}, people {people}", f"{days} photographs", a_day] = rates.ours, rates.weeks
    both = {name: np.concatenate([pool[name] for pool in pools.values()]) for name in pools["test"]}
    if listing.people is not None:
        who = dict(zip(listing.ids, listing.people, strict=True))
        shown = [who[name] for table in parts.values() for name in table.column("id").to_pylist()]
        found |= _random_people(both, np.unique(shown, return_inverse=True)[1], spread)
    for a_day in A_DAY:
        rates = Rates.of(spread(both, a_day, ROWS, WEEKS))
        found[f"{ROWS} of both parts at random", "the others of both parts", a_day] = rates.ours, rates.weeks
    return found


def _random_people(
    pool: Columns, people: np.ndarray, spread: Spread
) -> dict[tuple[str, str, int], tuple[int, int]]:
    """Return the same where chance decides who is in the reference, and everybody else is in the days.

    Args:
        pool: The photographs of both parts.
        people: The number of the person on each.
        spread: Checks random weeks.

    """
    found = {}
    for known in ("known", "unknown"):
        for a_day in A_DAY:
            weeks: list[WeekResult] = []
            for seed in range(SPLITS):
                order = np.random.default_rng([SEED, seed]).permutation(people.max() + 1)
                count = np.searchsorted(np.bincount(people)[order].cumsum(), ROWS) + 1
                inside = np.isin(people, order[:count])
                reference = {name: values[inside] for name, values in pool.items()}
                against = Known(reference, people[inside] if known == "known" else None)
                others = {name: values[~inside] for name, values in pool.items()}
                weeks += spread(others, a_day, against, WEEKS // SPLITS)
            rates = Rates.of(weeks)
            found[f"{ROWS} of random people, {known}", "everybody else", a_day] = rates.ours, rates.weeks
    return found


def _known(listing: celeba.Listing, pool: Columns, ids: Sequence[str], rows: np.ndarray) -> Known:
    people = None
    if listing.people is not None:
        who = dict(zip(listing.ids, listing.people, strict=True))
        people = np.unique([who[ids[int(row)]] for row in rows], return_inverse=True)[1]
    return Known({name: values[rows] for name, values in pool.items()}, people)


def _repeated(table: pa.Table, a_day: int, model_sha256: str) -> tuple[int, int]:
    """Return the number of weeks with an alarm, and of weeks, where each image is scored twice a day."""
    alarms = 0
    for seed in range(REPEATED_WEEKS):
        chosen = np.random.default_rng([SEED, seed]).permutation(table.num_rows)[: DAYS * a_day // 2]
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            for day, rows in enumerate(np.array_split(chosen, DAYS), start=1):
                for again in ("one", "two"):
                    path = Path(folder, f"date=2026-01-{day:02d}", f"{again}.parquet")
                    path.parent.mkdir(exist_ok=True)
                    pq.write_table(table.take(rows), path)
            verdict = drift.drift([Path(folder)], REFERENCE, model_sha256, Path(folder, "drift.json"))
        alarms += bool(verdict["drifted"])
    return alarms, REPEATED_WEEKS


def _score_part(listing: celeba.Listing, part: str, work: Path, most: int = PART) -> pa.Table:
    out = work / f"{part}.parquet"
    if not out.exists():
        code = PARTITIONS.index(part)
        ids = [name for name, one in zip(listing.ids, listing.partitions, strict=True) if one == code]
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            for name in choose(ids, most):
                shutil.copy(listing.images / name, Path(folder, name))
            score(Path(folder), MODEL, out)
    return pq.read_table(out)


def _score_changed(listing: celeba.Listing, ids: Sequence[str], change: str, work: Path) -> pa.Table:
    out = work / f"{change.replace(' ', '-')}.parquet"
    if not out.exists():
        quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITIES.get(change, QUALITY)]
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            for name in ids:
                image = images.decode(images.read(listing.images / name))
                changed = np.clip(np.rint(CHANGES[change](image)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(Path(folder, name)), cv2.cvtColor(changed, cv2.COLOR_RGB2BGR), quality)
            score(Path(folder), MODEL, out)
    return pq.read_table(out)


def _power(listing: celeba.Listing, test: pa.Table, release: Known, work: Path, spread: Spread) -> str:
    names = list(release.columns)
    truth = dict(zip(listing.ids, listing.labels, strict=True))
    cases = {}
    ids = sorted(choose(test.column("id").to_pylist(), CHANGED))
    for change in CHANGES:
        cases[change] = _score_changed(listing, ids, change, work)
    for title, (attribute, points) in MIXES.items():
        cases[title] = test.take(_mixed(test, truth, attribute, points))
    usual = _accuracy(cases["as they are"], truth)
    lines = [
        f"| photographs | {' | '.join(f'{a_day} a day' for a_day in A_DAY)} | seen in | accuracy |",
        f"|---|{'---:|' * len(A_DAY)}---|---:|",
    ]
    for title, table in cases.items():
        results = {a_day: spread(columns(table, names), a_day, release, CHANGED_WEEKS) for a_day in A_DAY}
        rates = [Rates.of(some) for some in results.values()]
        shown = " | ".join(f"{rate.ours / rate.weeks:.0%}" for rate in rates)
        change = f"{100 * (_accuracy(table, truth) - usual):+.1f}" if title in CHANGES else ""
        lines.append(f"| {title} | {shown} | {groups(results[max(A_DAY)]) or '-'} | {change} |")
    return "\n".join(lines)


def _mixed(
    table: pa.Table, truth: Mapping[str, np.ndarray], attribute: str, points: float | None
) -> np.ndarray:
    """Return rows in which the share of an attribute is greater by `points`, or all those that have it."""
    column = CELEBA_ATTRIBUTES.index(attribute.removeprefix("-"))
    have = np.array([truth[name][column] for name in table.column("id").to_pylist()])
    have ^= attribute.startswith("-")
    some, others = np.flatnonzero(have), np.flatnonzero(~have)
    if points is None:
        return some
    share = have.mean() + points
    kept = np.random.default_rng(SEED).permutation(others)[: round(len(some) * (1 - share) / share)]
    return np.concatenate([some, kept])


def _accuracy(table: pa.Table, truth: Mapping[str, np.ndarray]) -> float:
    labels = np.stack([truth[name] for name in table.column("id").to_pylist()])
    decisions = np.stack([table.column(name).to_numpy() for name in CELEBA_ATTRIBUTES], axis=1)
    return float((labels == decisions).mean())


def _quiet_table(quiet: Mapping[tuple[str, str, int], tuple[int, int]]) -> str:
    lines = [
        "| reference | days | images a day | weeks | with a false alarm | at most, with 95 % confidence |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for (reference, days, a_day), (alarms, weeks) in quiet.items():
        bound = at_most(alarms, weeks)
        lines.append(f"| {reference} | {days} | {a_day} | {weeks} | **{alarms / weeks:.1%}** | {bound:.1%} |")
    return "\n".join(lines)
