"""A model is loaded only where an earlier environment signed a verdict that names its digest."""

import hashlib
from pathlib import Path

import pytest

from gitops import tasks
from gitops.airflow.bundle import ReleaseBundle
from gitops.errors import ModelError, RuleError
from gitops.git.workspace import Origin
from gitops.release import settings
from gitops.release.runtimes import Runtime
from gitops.release.settings import Settings
from gitops.release.verdicts import Verdict, record
from gitops.training import vouched
from serving.cli import prepare
from tests.support.bundles import Make, version
from tests.support.lab import Lab

ASKS = b"REQUIRE_SIGNED_MODELS=true"


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def vouch(lab: Lab, environment: str, commit: str, model: str, key: str | None = None) -> None:
    """Record a verdict that names a model, signed with the key of an environment."""
    lab.clone.fetch(lab.remote)
    given = lab.verdict(environment, commit).model_copy(update={"model_sha256": digest(model)})
    record(lab.clone, lab.remote, given, lab.key(key or environment))


def asking(lab: Lab, environment: str = "staging") -> Settings:
    """Make an environment ask for signed models, and return its settings."""
    path = settings.path_of(environment)
    content = lab.origin.read(lab.tip, path) or b""
    changed = content.replace(b"REQUIRE_SIGNED_MODELS=false", ASKS)
    assert ASKS in changed
    lab.land({path: changed})
    return Settings.from_file(changed, environment)


def test_a_model_is_loaded_if_an_earlier_environment_vouches_for_it(lab: Lab) -> None:
    asked = asking(lab)
    origin, mirror = Origin(str(lab.origin.path)), lab.origin.path.parent / "mirror.git"
    first = lab.train("a", verified=False)
    with pytest.raises(ModelError) as caught:
        vouched.require(origin, first, mirror=mirror, settings=asked)
    assert f"no signed verdict of dev names the model {digest('a')[:12]}" in str(caught.value)
    vouch(lab, "dev", first, "a")
    vouched.require(origin, first, mirror=mirror, settings=asked)
    # The same verdict vouches for no other model, whichever commit it is about
    second = lab.train("b", verified=False)
    vouch(lab, "dev", second, "a")
    with pytest.raises(ModelError, match=digest("b")[:12]):
        vouched.require(origin, second, mirror=mirror, settings=asked)


def test_a_verdict_of_an_earlier_runtime_names_no_model(lab: Lab) -> None:
    asked = asking(lab)
    origin, mirror = Origin(str(lab.origin.path)), lab.origin.path.parent / "mirror.git"
    commit = lab.train("a")
    with pytest.raises(ModelError, match="no signed verdict of dev"):
        vouched.require(origin, commit, mirror=mirror, settings=asked)


def test_a_later_verification_vouches_too(lab: Lab) -> None:
    """The first one is of an earlier runtime, which named no model; a newer one verified it again."""
    asked = asking(lab)
    origin, mirror = Origin(str(lab.origin.path)), lab.origin.path.parent / "mirror.git"
    commit = lab.train("a")
    named = {"model_sha256": digest("a"), "runtime": Runtime.present(), "again": True}
    given = lab.verdict("dev", commit)
    lab.clone.fetch(lab.remote)
    record(lab.clone, lab.remote, given.model_copy(update=named), lab.key("dev"))
    vouched.require(origin, commit, mirror=mirror, settings=asked)
    lab.verify("dev", commit, "rejected")
    with pytest.raises(ModelError, match="no signed verdict of dev"):
        vouched.require(origin, commit, mirror=mirror, settings=asked)


def test_its_own_verdict_and_one_with_another_key_do_not_count(lab: Lab) -> None:
    asked = asking(lab)
    origin, mirror = Origin(str(lab.origin.path)), lab.origin.path.parent / "mirror.git"
    commit = lab.train("a", verified=False)
    vouch(lab, "staging", commit, "a")
    given = lab.verdict("dev", commit).model_copy(update={"model_sha256": digest("a")})
    stranger = lab.key("stranger")
    made = lab.clone.tag(commit, given.tag, given.message, at=given.at, sign=stranger.sign)
    lab.clone.push(lab.remote, {f"refs/tags/{given.tag}": made})
    with pytest.raises(ModelError, match="no signed verdict of dev"):
        vouched.require(origin, commit, mirror=mirror, settings=asked)


def test_without_the_setting_nothing_is_asked(lab: Lab) -> None:
    origin = Origin("/nowhere")
    vouched.require(origin, lab.tip, mirror=lab.origin.path.parent / "none", settings=Settings())


@pytest.mark.long
def test_the_bundle_serves_only_a_model_that_is_vouched_for(lab: Lab, make: Make, lines: list[str]) -> None:
    asking(lab)
    first = lab.train("a", verified=False)
    vouch(lab, "dev", first, "a")
    lab.declare("staging", f"commit: {first}\n")
    bundle: ReleaseBundle = make()
    bundle.refresh()
    assert version(bundle) == first
    second = lab.train("b", verified=False)
    lab.declare("staging", f"commit: {second}\n")
    bundle.refresh()
    assert version(bundle) == first
    assert bundle.serving.refused
    assert "no signed verdict of dev names the model" in bundle.serving.refused
    vouch(lab, "dev", second, "b")
    bundle.refresh()
    assert version(bundle) == second
    assert bundle.serving.refused is None


def test_an_environment_without_one_before_it_may_not_ask(lab: Lab) -> None:
    path = settings.path_of("dev")
    content = lab.origin.read(lab.tip, path) or b""
    lab.branch("asks", {path: content.replace(b"REQUIRE_SIGNED_MODELS=false", ASKS)})
    with pytest.raises(RuleError, match="REQUIRE_SIGNED_MODELS: no environment verifies a model before dev"):
        lab.merge("asks")


def test_a_verdict_without_a_digest_reads_as_before(lab: Lab) -> None:
    given = lab.verdict("dev", "a" * 40)
    assert "model_sha256" not in given.message
    named = given.model_copy(update={"model_sha256": digest("a")})
    assert f'"model_sha256": "{digest("a")}"' in named.message
    assert Verdict.model_validate_json(named.model_dump_json()) == named


def test_a_task_loads_no_model_that_nobody_vouches_for(
    lab: Lab, storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking(lab)
    commit = lab.train("a")
    for name, value in {
        "REQUIRE_SIGNED_MODELS": "true",
        "VISAGE_ENVIRONMENT": "staging",
        "VISAGE_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ModelError, match="no signed verdict of dev names the model"):
        tasks.fetch_model(release=commit)
    with pytest.raises(ModelError, match="no signed verdict of dev"), prepare(tmp_path / "home")(commit):
        pass
    assert not (tmp_path / "home/models").exists()
