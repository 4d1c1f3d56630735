"""The manifests of a release on Kubernetes, as kubectl renders them, and the branches that carry them."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gitops.cli import app
from gitops.diff import manifests
from gitops.errors import ManifestsError
from gitops.forge import manifest_branches
from gitops.forge.promotions import describe, plan
from gitops.git.repository import Repository
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from gitops.release.file import Release
from gitops.release.runtimes import Runtime
from gitops.text.instructions import LOCAL
from tests.support.lab import ROOT, Lab

PATHS = ("infra/kubernetes/base", "environments/staging/kustomization.yaml")
TASK = "infra/kubernetes/base/task.yaml"
SETTINGS = "environments/staging/settings.env"
IMAGE = f"sha256:{'a' * 64}"

with_kubectl = pytest.mark.system("kubectl")


@pytest.fixture
def cluster(lab: Lab) -> Lab:
    """A lab with the manifests of this repository."""
    files: dict[str, bytes | None] = {}
    for path in PATHS:
        found = [ROOT / path] if (ROOT / path).is_file() else [*(ROOT / path).iterdir()]
        files |= {str(file.relative_to(ROOT)): file.read_bytes() for file in found}
    lab.land(files)
    return lab


def more_memory(lab: Lab) -> None:
    task = lab.origin.read("main", TASK)
    assert task is not None
    assert b"memory: 6Gi" in task
    lab.land({TASK: task.replace(b"memory: 6Gi", b"memory: 7Gi")})


def deploy(lab: Lab) -> dict[str, str]:
    """Push the branches as the loop of promotions does; return what was said about each."""
    state = lab.state()
    said: dict[str, str] = {}
    for branch in manifest_branches.plan(lab.clone, state, lab.remote):
        said[branch.environment] = branch.text
        if branch.commit:
            manifest_branches.push(lab.clone, lab.remote, branch)
    return said


def deployed(lab: Lab, path: str, environment: str = "staging") -> bytes:
    return lab.origin.read(f"refs/heads/deploy/{environment}", path) or b""


def test_the_manifests_are_those_of_the_release_and_the_settings_those_of_main(cluster: Lab) -> None:
    lab = cluster
    first = lab.train("a")
    assert deploy(lab)["staging"].startswith("gets the manifests of main ")
    lab.release("staging")
    # main goes on, and staging stays; its settings are those of main at once.
    settings = lab.origin.read("main", SETTINGS) or b""
    more_memory(lab)
    assert deploy(lab)["staging"] == f"has the manifests of {first[:12]}"
    lab.land({SETTINGS: settings.replace(b"WEB_PORT=8081", b"WEB_PORT=8099")})
    assert deploy(lab)["staging"] == f"gets the manifests of {first[:12]}"
    assert b"WEB_PORT=8099" in deployed(lab, SETTINGS)
    assert b"memory: 6Gi" in deployed(lab, TASK)
    # A promotion brings manifests and model, a rollback takes both back.
    second = lab.train("b", 0.92)
    lab.release("staging")
    assert deploy(lab)["staging"] == f"gets the manifests of {second[:12]}"
    assert b"memory: 7Gi" in deployed(lab, TASK)
    push(lab.clone, lab.remote, rollback(lab.clone, lab.state(), "staging", lab.remote))
    lab.merge("rollback/staging")
    assert deploy(lab) == {"staging": f"gets the manifests of {first[:12]}"}, (
        "the others have no overlay here"
    )
    assert b"memory: 6Gi" in deployed(lab, TASK)
    assert deployed(lab, "dags/example.py") == b"", "nothing else is on the branch"


def test_an_unsigned_release_deploys_nothing_where_signatures_are_asked_for(cluster: Lab) -> None:
    lab = cluster
    deploy(lab)
    settings = lab.origin.read("main", SETTINGS) or b""
    asks = settings.replace(b"REQUIRE_SIGNED_RELEASES=false", b"REQUIRE_SIGNED_RELEASES=true")
    lab.land({SETTINGS: asks})
    assert deploy(lab)["staging"].startswith("stays as it is: environments/staging/release.yaml:")
    assert b"REQUIRE_SIGNED_RELEASES=false" in deployed(lab, SETTINGS)


def test_the_image_of_the_release_file_is_in_the_kustomization(cluster: Lab) -> None:
    lab = cluster
    state = lab.state()
    files = manifests.assemble(lab.clone, state.tip, "staging", Release(commit=state.tip, runtime=IMAGE))
    whole = yaml.safe_load(files["kustomization.yaml"])
    name = "registry.invalid/OWNER/visage-airflow"
    assert whole["images"] == [{"name": name, "newName": name, "digest": IMAGE}]
    release = Release(commit=state.tip, runtime=f"lock:{'b' * 64}")
    own = manifests.assemble(lab.clone, state.tip, "staging", release)
    assert "images" not in yaml.safe_load(own["kustomization.yaml"])


@with_kubectl
def test_a_pull_request_shows_the_rendered_difference(cluster: Lab) -> None:
    lab = cluster
    first = lab.train("a", verified=False)
    runtime = Runtime.present().model_copy(update={"name": IMAGE})
    lab.verify("dev", first, runtime=runtime)
    lab.release("staging")
    more_memory(lab)
    newer = runtime.model_copy(update={"name": f"sha256:{'c' * 64}"})
    lab.verify("dev", lab.train("b", 0.92, verified=False), runtime=newer)
    status = plan(lab.clone, lab.state(), "staging", "origin")
    assert status.proposal is not None
    text = describe(lab.clone, lab.state(), status.proposal, LOCAL)
    assert "<summary>Manifests of staging</summary>" in text
    assert "memory: 6Gi" in text
    assert "memory: 7Gi" in text
    assert f"visage-airflow@sha256:{'c' * 64}" in text


@with_kubectl
def test_the_command_prints_what_argo_cd_builds(cluster: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = cluster
    first = lab.train("a", verified=False)
    lab.verify("dev", first, runtime=Runtime.present().model_copy(update={"name": IMAGE}))
    lab.release("staging")
    deploy(lab)
    monkeypatch.chdir(lab.clone.path)
    printed = CliRunner().invoke(app, ["manifests", "staging"])
    assert printed.exit_code == 0, printed.stderr
    files = {path: deployed(lab, path) for path in lab.origin.files("refs/heads/deploy/staging")}
    assert printed.stdout == manifests.render(files)
    kinds = [one for one in yaml.safe_load_all(printed.stdout) if one["kind"] == "Deployment"]
    images = {pod["image"] for one in kinds for pod in one["spec"]["template"]["spec"]["containers"]}
    assert images == {f"registry.invalid/OWNER/visage-airflow@{IMAGE}"}
    [engine] = [
        one for one in yaml.safe_load_all(printed.stdout) if one["metadata"]["name"].startswith("engine-")
    ]
    assert engine["data"]["VISAGE_RUNTIME"] == IMAGE
    nothing = CliRunner().invoke(app, ["manifests", "prod"])
    assert nothing.stderr.startswith(
        "Cannot show the manifests of prod: environments/prod/kustomization.yaml missing\n"
    )


@with_kubectl
def test_manifests_that_kustomize_refuses_are_named(cluster: Lab) -> None:
    files = {"kustomization.yaml": b"resources: [missing.yaml]\n"}
    with pytest.raises(ManifestsError, match=r"Kustomize refuses them: .*missing\.yaml"):
        manifests.render(files)


@with_kubectl
def test_a_base_of_another_repository_is_not_fetched(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    repository = Repository(other)
    repository.git("init", "--quiet", "--initial-branch=main")
    private = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: private}\n"
    files = {"kustomization.yaml": b"resources: [private.yaml]\n", "private.yaml": private}
    repository.git("update-ref", "refs/heads/main", repository.commit_files(None, files, "Private"))
    overlay = f"resources: ['file://{other}/.git//?ref=main']\n".encode()
    with pytest.raises(ManifestsError, match="Kustomize refuses them"):
        manifests.render({"kustomization.yaml": overlay})


def test_without_kustomize_the_files_are_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    before, after = {"a.yaml": b"x: 1\n"}, {"a.yaml": b"x: 2\n"}
    assert "+x: 2" in manifests.difference(before, after)
    assert manifests.difference(before, before) == ""
    with pytest.raises(ManifestsError, match="neither kubectl nor kustomize"):
        manifests.render(after)
