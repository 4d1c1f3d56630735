"""The plan of a prune, by plain values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gitops.upkeep.content import Content
from gitops.upkeep.plan import Facts, Kept, Plan, Policy, Reference, kept_releases, plan
from gitops.upkeep.policy import strictest

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
POLICY = Policy(days=14, runs=2, releases=0, candidate_days=90)


def content(model: str, *more: str) -> Content:
    return Content(frozenset({model, *more}), (("models/model.onnx", model),))


def reference(name: str, model: str, days: float, *, merged: bool = False) -> Reference:
    return Reference(f"refs/{name}", f"tag of {name}", f"commit {model}", NOW - timedelta(days=days), merged)


def stored(digest: str, days: float | None = 100, place: str = "") -> Kept:
    return Kept(digest, 10, None if days is None else (NOW - timedelta(days=days)).timestamp(), place)


def facts(*references: Reference, ran: tuple[str, ...] = (), **more: object) -> Facts:
    models = {one.commit.removeprefix("commit ") for one in references} | set(ran)
    contents = {f"commit {model}": content(model) for model in models}
    given = Facts(references, contents, {"prod": tuple(f"commit {model}" for model in ran)})
    return replace(given, **more)  # type: ignore[arg-type]


def gone(due: Plan) -> list[str]:
    return sorted(one.name.removeprefix("refs/") for one, _ in due.references)


def test_a_run_that_ended_keeps_its_tag_alone() -> None:
    due = plan(
        facts(
            reference("heads/run/a", "a", 20),
            reference("tags/archive/a", "a", 20),
            reference("heads/run/young", "b", 13),
            reference("tags/archive/young", "b", 13),
        ),
        POLICY,
        NOW,
    )
    assert gone(due) == ["heads/run/a"]


def test_the_newest_runs_stay_of_each_sort() -> None:
    names = [f"tags/archive/{number}" for number in range(5)] + [
        f"heads/run/f{number}" for number in range(5)
    ]
    due = plan(facts(*(reference(name, name, 30 + int(name[-1])) for name in names)), POLICY, NOW)
    assert gone(due) == sorted(
        [f"heads/run/f{n}" for n in (2, 3, 4)] + [f"tags/archive/{n}" for n in (2, 3, 4)]
    )


def test_the_newest_training_of_a_model_that_ran_stays() -> None:
    due = plan(
        facts(
            *(reference(f"tags/archive/{number}", str(number), 30) for number in range(3)),
            reference("tags/archive/first", "old", 300),
            reference("tags/archive/again", "old", 200),
            ran=("old",),
        ),
        POLICY,
        NOW,
    )
    assert gone(due) == ["tags/archive/0", "tags/archive/first"]


def test_candidates_wait_for_their_merge_and_not_for_ever() -> None:
    given = facts(
        reference("heads/candidate/waits", "a", 80),
        reference("heads/candidate/forgotten", "b", 100),
        reference("heads/candidate/merged", "c", 80, merged=True),
        reference("heads/candidate/squashed", "d", 80),
        reference("heads/candidate/young", "e", 2, merged=True),
        ran=("d",),
    )
    merged = ["heads/candidate/merged", "heads/candidate/squashed"]
    assert gone(plan(given, POLICY, NOW)) == ["heads/candidate/forgotten", *merged]
    assert gone(plan(given, replace(POLICY, candidate_days=0), NOW)) == merged


def test_other_branches_and_tags_stay_with_their_objects() -> None:
    names = (
        "heads/mine",
        "tags/v1",
        "exps/12/34/mine",
        "tags/verified/prod/1",
        "heads/runs",
        "tags/archives/x",
    )
    given = facts(*(reference(name, name, 1000) for name in names))
    due = plan(replace(given, objects=tuple(map(stored, names))), POLICY, NOW)
    assert due.references == ()
    # A verdict needs nothing by itself: the release that ran does
    assert [one.digest for one in due.objects] == ["tags/verified/prod/1"]


def test_objects_of_what_stays_stay_and_young_ones_whoever_needs_them() -> None:
    given = facts(
        reference("heads/run/a", "a", 20),
        reference("tags/archive/a", "a", 20),
        ran=("new", "old"),
        objects=(
            *(stored(name) for name in ("a", "new", "old", "nobody")),
            stored("young", 13),
            stored("unknown", None),
            stored("nobody", 100, "/cache"),
            stored("not pushed yet", 100, "/cache"),
            stored("a", 100, "/cache"),
        ),
    )
    due = plan(given, POLICY, NOW)
    assert [(one.digest, one.place) for one in due.objects] == [("nobody", ""), ("nobody", "/cache")]
    limited = plan(given, replace(POLICY, releases=1), NOW)
    assert [one.digest for one in limited.objects if not one.place] == ["old", "nobody"]


def test_a_hold_or_an_incident_keeps_all_that_ran() -> None:
    given = facts(ran=("c", "b", "a"), objects=tuple(map(stored, "abc")))
    policy = replace(POLICY, releases=1)
    assert [one.digest for one in plan(given, policy, NOW).objects] == ["a", "b"]
    held = replace(given, held=frozenset({"prod"}))
    assert plan(held, policy, NOW).objects == ()


def test_commits_with_the_same_objects_are_one_release() -> None:
    given = facts(ran=("b", "a"))
    given = replace(
        given,
        ran={"dev": ("promotion", "commit b", "commit a")},
        contents={**given.contents, "promotion": content("b")},
    )
    assert kept_releases(given, replace(POLICY, releases=1)) == {"dev": ("promotion", "commit b")}


def test_a_folder_keeps_its_files_and_a_lost_list_keeps_everything() -> None:
    folder = Content(frozenset({"x.dir"}), (("data/prepared", "x.dir"),))
    given = Facts(
        (),
        {"release": folder},
        {"prod": ("release",)},
        folders={"x.dir": frozenset({"part"})},
        objects=tuple(map(stored, ("x.dir", "part", "nobody"))),
        trash={"nobody": "2026-05-01"},
    )
    due = plan(given, POLICY, NOW)
    assert [one.digest for one in due.objects] == ["nobody"]
    assert due.before == "2026-05-18"
    lost = plan(replace(given, folders={}), POLICY, NOW)
    assert (lost.unknown, lost.objects, lost.before) == (("x.dir",), (), "0001-01-01")
    # A person's data are gone on purpose
    asked = plan(replace(given, folders={}, forgotten=frozenset({"x.dir"})), POLICY, NOW)
    assert asked.unknown == ()


def test_the_trash_gives_back_what_somebody_needs_again() -> None:
    given = facts(
        ran=("a", "b"),
        objects=(stored("b"),),
        trash={"a": "2026-05-30", "b": "2026-05-30", "c": "2026-05-30"},
    )
    assert plan(given, POLICY, NOW).restored == {"a"}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], Policy()),
        ([None], Policy()),
        ([None, Policy(30, 5, 0, 0)], Policy(30, 5, 0, 0)),
        ([Policy(30, 5, 0, 60), Policy(7, 9, 12, 0)], Policy(7, 5, 12, 60)),
    ],
)
def test_commands_take_the_policy_by_which_objects_are_gone(policies: list, expected: Policy) -> None:
    assert strictest(policies) == expected
