import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from gitops.airflow.status import without_keys
from gitops.errors import GitopsError, PushRejectedError, VerdictError
from gitops.git.repository import Repository
from gitops.release.keys import PrivateKey
from gitops.release.runtimes import Runtime
from gitops.release.verdicts import Verdict, Verdicts, record
from tests.gitops import poison
from tests.support.lab import Lab


def load(lab: Lab) -> Verdicts:
    return lab.state().verdicts


def test_a_verdict_is_an_annotated_tag_on_its_release(lab: Lab) -> None:
    commit = lab.train("a")
    verdict = lab.verdict("staging", commit)
    record(lab.clone, lab.remote, verdict, lab.key(verdict.environment))
    (tag,) = lab.origin.tags("verified/staging")
    assert (tag.name, tag.commit) == (f"verified/staging/{commit[:12]}", commit)
    assert tag.message.startswith("verified in staging: mean accuracy 0.9000 measured, 0.9000 claimed")
    assert Verdict.read(tag) == verdict
    assert lab.clone.tags() == []


def test_recording_again_changes_nothing(lab: Lab) -> None:
    commit = lab.train("a")
    lab.verify("staging", commit)
    before = lab.origin.tags()
    lab.verify("staging", commit)
    assert lab.origin.tags() == before


def test_recording_at_once_is_as_good_as_once(lab: Lab, tmp_path) -> None:
    commit = lab.train("a")
    clones = [Repository.clone(str(lab.origin.path), tmp_path / f"c{n}") for n in range(4)]
    errors: list[GitopsError] = []

    def work(clone: Repository) -> None:
        try:
            record(clone, "origin", lab.verdict("staging", commit), lab.key("staging"))
        except GitopsError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(clone,)) for clone in clones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(lab.origin.tags("verified/staging")) == 1


def test_a_rejection_outweighs_a_verification(lab: Lab) -> None:
    commit = lab.train("a")
    lab.verify("staging", commit)
    lab.verify("staging", commit, "rejected")
    verdicts = load(lab)
    assert verdicts.verified("staging", commit) is None
    assert verdicts.rejected("staging", commit)
    with pytest.raises(VerdictError, match="git push origin --delete refs/tags/rejected/staging/"):
        lab.verify("staging", commit)
    lab.origin.git("update-ref", "-d", f"refs/tags/rejected/staging/{commit[:12]}")
    assert load(lab).verified("staging", commit)


def test_equal_releases_share_their_verdicts(lab: Lab) -> None:
    commit = lab.train("a")
    lab.verify("staging", commit)
    equal = lab.land({"README.md": b"news\n"})
    other = lab.land({"params.yaml": b"profile: small\n"})
    verdicts = load(lab)
    assert verdicts.verified("staging", equal)
    assert verdicts.verified("staging", other) is None
    assert verdicts.verified("prod", commit) is None
    assert verdicts.verified("staging", None) is None


def test_the_first_verification_counts_for_the_age(lab: Lab) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    commit = lab.train("a")
    lab.verify("staging", commit, at=now - timedelta(hours=5))
    assert load(lab).age("staging", commit, now=now) == timedelta(hours=5)
    assert load(lab).age("prod", commit, now=now) is None


def _tag(lab: Lab, name: str, commit: str, message: str) -> None:
    lab.origin.git("update-ref", f"refs/tags/{name}", lab.origin.tag(commit, name, message))


def push(
    lab: Lab,
    verdict: Verdict,
    *,
    key: PrivateKey | None = None,
    name: str | None = None,
    reference: str | None = None,
    at: datetime | None = None,
) -> str:
    """Let somebody push a tag that is a verdict in every other way."""
    sign = key.sign if key else None
    tag = lab.origin.tag(
        verdict.release, name or verdict.tag, verdict.message, at=at or verdict.at, sign=sign
    )
    lab.origin.git("update-ref", f"refs/tags/{reference or name or verdict.tag}", tag)
    return tag


def ignored(lab: Lab) -> list[str]:
    return [tag.why for tag in load(lab).ignored]


@pytest.mark.parametrize("signer", [None, "dev", "stranger"])
@pytest.mark.parametrize("word", ["verified", "rejected"])
def test_a_verdict_that_its_environment_has_not_signed_is_named_and_ignored(
    lab: Lab, word: str, signer: str | None
) -> None:
    commit = lab.train("a")
    push(lab, lab.verdict("staging", commit, word), key=lab.key(signer) if signer else None)
    verdicts = load(lab)
    assert verdicts.verified("staging", commit) is None
    assert verdicts.rejected("staging", commit) is None
    (found,) = verdicts.ignored
    assert found.name == f"{word}/staging/{commit[:12]}"
    assert ("it is not signed" if signer is None else "is not listed") in found.why


def test_a_lightweight_tag_takes_nothing_away(lab: Lab) -> None:
    commit = lab.train("a")
    lab.verify("staging", commit)
    lab.origin.git("update-ref", f"refs/tags/rejected/staging/{commit[:12]}", commit)
    assert load(lab).verified("staging", commit)
    assert ignored(lab) == ["it is a lightweight tag"]


def test_a_signature_is_one_of_its_own_tag(lab: Lab) -> None:
    one, two = lab.train("a"), lab.train("b")
    lab.verify("staging", one)
    (good,) = lab.origin.tags("verified/staging")
    verdict = lab.verdict("staging", two)
    made = lab.origin.tag(two, verdict.tag, verdict.message, at=verdict.at, sign=lambda _: good.signature)
    lab.origin.git("update-ref", f"refs/tags/{verdict.tag}", made)
    assert load(lab).verified("staging", two) is None
    assert ignored(lab) == ["its signature is not one of its content"]


def test_a_second_name_of_a_verdict_is_named_and_ignored(lab: Lab) -> None:
    commit = lab.train("a")
    lab.verify("staging", commit)
    (good,) = lab.origin.tags("verified/staging")
    lab.origin.git("update-ref", "refs/tags/verified/staging/copy", good.object_id)
    assert load(lab).verified("staging", commit)
    assert ignored(lab) == [f"its message is that of verified/staging/{commit[:12]}"]
    verdict = lab.verdict("dev", commit, "rejected")
    push(lab, verdict, key=lab.key("dev"), name="rejected/dev/other", reference=verdict.tag)
    assert load(lab).rejected("dev", commit) is None
    assert "its object has another name" in ignored(lab)


def test_the_time_of_a_verdict_is_its_signed_date(lab: Lab) -> None:
    """Nobody waits less because a message says that it is old."""
    commit, now = lab.train("a"), datetime.now(UTC)
    old = lab.verdict("staging", commit, at=now - timedelta(days=30))
    push(lab, old, key=lab.key("staging"), at=now)
    assert load(lab).age("staging", commit) is None
    assert ignored(lab) == ["its message states another time than its date"]


def test_a_verdict_of_the_future_does_not_count_yet(lab: Lab) -> None:
    one, two, now = lab.train("a"), lab.train("b"), datetime.now(UTC)
    push(lab, lab.verdict("staging", one, at=now + timedelta(days=2)), key=lab.key("staging"))
    push(lab, lab.verdict("staging", two, at=now + timedelta(minutes=5)), key=lab.key("staging"))
    assert load(lab).verified("staging", one) is None
    assert ignored(lab) == ["its date is in the future"]
    assert load(lab).age("staging", two) == timedelta()


def test_without_a_list_of_keys_no_verdict_of_the_environment_counts(lab: Lab) -> None:
    """As in a repository from before verdicts were signed."""
    commit = lab.train("a")
    lab.verify("staging", commit)
    path = "environments/canary/verifiers"
    canary = {
        "environments/canary/environment.yaml": b"title: Canary\ncolor: slate\nafter: [staging]\n",
        "environments/canary/release.yaml": b"commit: null\n",
    }
    lab.land(canary)
    push(lab, lab.verdict("canary", commit), key=lab.key("canary"))
    assert load(lab).verified("canary", commit) is None
    assert ignored(lab) == [
        f"there is no {path} on main; make it: .venv/bin/gitops keys create canary --push"
    ]
    with pytest.raises(VerdictError, match="gitops keys create canary --push"):
        lab.verify("canary", commit)
    assert list(without_keys(lab.state())) == [
        f"canary: no verdict counts: there is no {path} on main; "
        "make it: .venv/bin/gitops keys create canary --push"
    ]
    lab.land({path: lab.key("canary").line("canary")})
    assert load(lab).verified("canary", commit)
    assert list(without_keys(lab.state())) == []


def test_before_there_is_a_model_nobody_misses_a_key(lab: Lab) -> None:
    lab.land(
        {
            "environments/canary/environment.yaml": b"title: Canary\ncolor: slate\nafter: [staging]\n",
            "environments/canary/release.yaml": b"commit: null\n",
        }
    )
    assert list(without_keys(lab.state())) == []
    lab.train("a")
    assert [line.split(":")[0] for line in without_keys(lab.state())] == ["canary"]


def test_a_tag_without_figures_counts_for_nothing_and_is_named(lab: Lab) -> None:
    commit = lab.train("a")
    _tag(lab, f"verified/staging/{commit[:12]}", commit, "looks good to me")
    _tag(lab, f"rejected/prod/{commit[:12]}", commit, "no")
    verdicts = load(lab)
    assert verdicts.verified("staging", commit) is None
    assert verdicts.rejected("prod", commit) is None
    assert [str(one) for one in verdicts.ignored] == [
        f"rejected/prod/{commit[:12]}: ignored, its message carries no figures",
        f"verified/staging/{commit[:12]}: ignored, its message carries no figures",
    ]
    lab.verify("staging", commit)
    assert load(lab).verified("staging", commit)


@pytest.mark.parametrize("word", ["verified", "rejected"])
def test_odd_tags_change_no_verdict(lab: Lab, word: str) -> None:
    one, two = lab.train("a"), lab.train("b")
    lab.verify("staging", one)
    lab.verify("staging", two, "rejected")
    odd = [name for commit in (one, two) for name in poison.tags(lab.origin, word, "staging", commit)]
    poison.tag(lab.origin, f"{word}/nowhere", one, b"{}")
    verdicts = load(lab)
    assert verdicts.verified("staging", one)
    assert verdicts.rejected("staging", one) is None
    assert verdicts.rejected("staging", two)
    assert {tag.name for tag in verdicts.ignored} == {*odd, f"{word}/nowhere"}
    assert all(len(str(tag)) < 160 and "\n" not in str(tag) for tag in verdicts.ignored)


@pytest.mark.parametrize(
    "at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", 1e300, -1, "2101-01-01"]
)
def test_a_verdict_of_no_time_that_can_be_is_none(lab: Lab, at: object) -> None:
    figures = lab.verdict("staging", lab.tip).model_dump(mode="json") | {"at": at}
    poison.tag(lab.origin, f"verified/staging/{lab.tip[:12]}", lab.tip, json.dumps(figures).encode())
    verdicts = load(lab)
    assert verdicts.verified("staging", lab.tip) is None
    assert len(verdicts.ignored) == 1


def test_a_verification_copied_to_another_commit_does_not_count(lab: Lab) -> None:
    one, two = lab.train("a"), lab.train("b")
    lab.verify("staging", one)
    message = lab.origin.tags("verified/staging")[0].message
    _tag(lab, f"verified/staging/{two[:12]}", two, message)
    _tag(lab, f"verified/prod/{one[:12]}", one, message)
    verdicts = load(lab)
    assert verdicts.verified("staging", two) is None
    assert verdicts.verified("prod", one) is None


@pytest.mark.parametrize("target", ["the same release", "another commit"])
def test_a_tag_that_is_no_verdict_does_not_keep_an_environment_from_recording_its_own(
    lab: Lab, target: str
) -> None:
    one, two = lab.train("a"), lab.train("b")
    marked = two if target == "the same release" else one
    _tag(lab, f"verified/staging/{two[:12]}", marked, "x")
    lab.verify("staging", two)
    assert load(lab).verified("staging", two)


@pytest.mark.parametrize(
    "change",
    [
        {"release": "abc"},
        {"environment": "q a"},
        {"measured_accuracy": 1.5},
        {"at": datetime(2026, 1, 1)},
        {"checks": [{"name": "DAG files"}]},
        {"checks": [{"name": "x", "value": "1", "limit": "2", "result": "passed"}] * 25},
    ],
)
def test_figures_must_make_sense(lab: Lab, change: dict[str, object]) -> None:
    good = lab.verdict("staging", "a" * 40).model_dump()
    with pytest.raises(ValidationError):
        Verdict.model_validate(good | change)


def test_a_verdict_carries_its_checks_and_keys_of_later_versions_are_ignored(lab: Lab) -> None:
    commit = lab.train("a")
    checks = [{"name": "DAG files", "value": "4\nDAGs", "limit": "all load", "result": "passed", "later": 1}]
    content = lab.verdict("staging", commit).model_dump() | {"checks": checks, "later": {"x": 1}}
    lab.clone.fetch(lab.remote)
    record(lab.clone, lab.remote, Verdict.model_validate(content), lab.key("staging"))
    found = load(lab).verified("staging", commit)
    assert found is not None
    assert [str(check) for check in found.checks] == ["DAG files: 4 DAGs (all load)"]
    assert "checks" not in lab.verdict("staging", commit).message, "earlier versions read one without checks"


@pytest.mark.parametrize("name", ["rejected", "rejected/dev"])
def test_a_tag_in_the_place_of_a_folder_of_verdicts_is_named(lab: Lab, name: str) -> None:
    commit = lab.train("a", verified=False)
    tag = f"refs/tags/{name}"
    lab.origin.git("update-ref", tag, commit)
    verdict = lab.verdict("dev", commit, "rejected")
    with pytest.raises(PushRejectedError, match=f"'{tag}' exists on {lab.remote}, ") as caught:
        record(lab.clone, lab.remote, verdict, lab.key(verdict.environment))
    command = str(caught.value).rpartition("delete it: git ")[2]
    lab.clone.git(*command.split())
    record(lab.clone, lab.remote, verdict, lab.key(verdict.environment))
    assert load(lab).rejected("dev", commit)


@pytest.mark.parametrize(
    "reason",
    [
        "exit status 1: KeyError: {'a': [1]}",
        '{"verdict": "verified"}',
        "a \udcff file",
        "\x1b[2Jgone\x00",
        "\n\n{}\n\n",
        "y" * 20_000,
        "\N{GRINNING FACE}" * 5_000,
    ],
)
def test_a_rejection_counts_whatever_its_reason_says(lab: Lab, reason: str) -> None:
    commit = lab.train("a", verified=False)
    figures = lab.verdict("dev", commit, "rejected").model_dump()
    verdict = Verdict.model_validate(figures | {"reason": reason})
    record(lab.clone, lab.remote, verdict, lab.key(verdict.environment))
    record(lab.clone, lab.remote, verdict, lab.key(verdict.environment))
    (tag,) = lab.origin.tags("rejected/dev")
    assert tag.message.splitlines()[0].isprintable()
    assert Verdict.read(tag) == verdict
    assert load(lab).rejected("dev", commit)


def test_what_was_not_measured_can_be_recorded(lab: Lab) -> None:
    commit = lab.train("a")
    figures = lab.verdict("staging", commit, "rejected").model_dump()
    verdict = Verdict.model_validate(figures | {"measured_accuracy": None, "reason": "it\nbroke"})
    record(lab.clone, lab.remote, verdict, lab.key(verdict.environment))
    (tag,) = lab.origin.tags("rejected/staging")
    assert tag.message.splitlines()[0] == (
        "rejected in staging: mean accuracy not measured, 0.9000 claimed: it broke"
    )
    assert Verdict.read(tag) == verdict


def test_a_verdict_on_one_runtime_under_the_name_of_another_does_not_count(lab: Lab) -> None:
    """Whoever may push tags replays what an environment signed about another runtime."""
    commit = lab.train("a")
    old = Runtime.present()
    new = old.model_copy(update={"packages": old.packages[::-1]})
    lab.verify("staging", commit, runtime=old)
    lab.verify("staging", commit, "rejected", runtime=new, again=True)
    lab.verify("staging", commit, runtime=old.model_copy(update={"contract": 99}), again=True)
    tags = {tag.name: tag.object_id for tag in lab.origin.tags("verified/staging", "rejected/staging")}
    assert len(tags) == 3
    name = f"{{}}/staging/{commit[:12]}"
    # The rejection on one runtime as one on all, on the old one, and as a verification
    signed = tags[f"{name.format('rejected')}-{new.digest}"]
    replayed = [
        name.format("rejected"),
        f"{name.format('rejected')}-{old.digest}",
        "verified/staging/" + "0" * 12,
    ]
    # A verification elsewhere as one on the new runtime
    other = next(
        object_id for tag, object_id in tags.items() if tag.startswith(f"{name.format('verified')}-")
    )
    for reference, object_id in [
        *((one, signed) for one in replayed),
        (f"{name.format('verified')}-{new.digest}", other),
    ]:
        lab.origin.git("update-ref", f"refs/tags/{reference}", object_id)
    verdicts = load(lab)
    assert len(verdicts.ignored) == 4
    assert verdicts.on("staging", old).rejected("staging", commit) is None
    rejection = verdicts.on("staging", new).rejected("staging", commit)
    assert rejection is not None
    assert rejection.object_id == signed
    assert verdicts.on("staging", new).verified_on("staging", commit, new) is None
