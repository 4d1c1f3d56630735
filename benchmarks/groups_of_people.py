"""How much groups of people differ: the means of the columns, beside those of random groups.

A reference and the images that follow are of two groups of people. If people arrive in some order, by agency,
by country or by day, such groups differ by more than random ones. The drift check allows `limits.TOGETHER`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.weeks import Columns

EACH = (900, 450, 225)  # people in a group, about
RANDOM = 500  # assignments of the people to groups
SEED = 1


def table(who: Mapping[str, str], ids: Mapping[str, Sequence[str]], pools: Mapping[str, Columns]) -> str:
    """Return a Markdown table of how much groups of people differ.

    Args:
        who: The person on each photograph.
        ids: The photographs of each part. The last two are also compared with each other.
        pools: The columns of each part.

    """
    *_, one, other = ids
    first, second = (_Part.of(who, ids[name], pools[name]) for name in (one, other))
    sides = np.repeat([0, 1], [len(first.people), len(second.people)])
    cases = [(f"the parts {one} and {other}", first.with_others(second), sides)]
    for name in ids:
        part = _Part.of(who, ids[name], pools[name])
        for each in EACH:
            count = round(len(part.people) / each)
            if count > 1:
                title = f"{count} of the part {name}, by number"
                cases.append((title, part, np.arange(len(part.people)) * count // len(part.people)))
    lines = [
        "| groups | people in each | variance of the means, times that of random groups | by chance |",
        "|---|---:|---:|---:|",
    ]
    for title, part, groups in cases:
        ratio, p = differ(part.rows, part.person, groups)
        each = len(groups) // (int(groups.max()) + 1)
        chance = f"{p:.1%}" if p else f"under {1 / RANDOM:.1%}"
        lines.append(f"| {title} | {each} | **{ratio:.1f}** | {chance} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Part:
    """Photographs: columns (N, C), the number of the person on each (N,), and the people in their order."""

    rows: np.ndarray
    person: np.ndarray
    people: Sequence[str]

    @classmethod
    def of(cls, who: Mapping[str, str], ids: Sequence[str], pool: Columns) -> "_Part":
        people = sorted({who[name] for name in ids}, key=_number)
        numbers = {name: number for number, name in enumerate(people)}
        rows = np.stack(list(pool.values()), axis=1).astype(np.float64)
        return cls(rows, np.array([numbers[who[name]] for name in ids]), people)

    def with_others(self, others: "_Part") -> "_Part":
        """Return these photographs and those of other people."""
        person = np.concatenate([self.person, others.person + len(self.people)])
        return _Part(np.concatenate([self.rows, others.rows]), person, [*self.people, *others.people])


def differ(rows: np.ndarray, person: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Return how much groups of people differ, and how often random groups differ as much.

    Args:
        rows: The columns of the images, (N, C).
        person: The number of the person on each image, (N,), from 0.
        group: The number of the group of each person, (P,), from 0.

    Returns:
        The variance of the groups' means, in variances of random groups' means, the mean of the columns; and
        the share of random groups with a larger one.

    """
    varying = rows[:, rows.std(axis=0) > 0]
    sums, counts = np.zeros((len(group), varying.shape[1])), np.bincount(person)
    np.add.at(sums, person, (varying - varying.mean(axis=0)) / varying.std(axis=0))
    numbers = range(int(group.max()) + 1)

    def variance(group: np.ndarray) -> np.ndarray:
        means = [sums[group == one].sum(axis=0) / counts[group == one].sum() for one in numbers]
        return np.var(means, axis=0)

    random = np.random.default_rng(SEED)
    chance = np.array([variance(random.permutation(group)) for _ in range(RANDOM)])
    usual = chance.mean(axis=0)
    ratio = float((variance(group) / usual).mean())
    return ratio, float(((chance / usual).mean(axis=1) >= ratio).mean())


def _number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 0), name
