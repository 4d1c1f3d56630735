"""No file names a repository, an image or an owner of somebody else, but a place for the reader's own."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops.errors import GitopsError
from gitops.git.repository import Repository
from gitops.release import adoption
from tests.docs.pages import ROOT, Page
from tests.support.environments import ENVIRONMENTS

HOSTS = (
    r"(?:(?:gist\.|raw\.)?github(?:usercontent)?\.com|(?:registry\.)?gitlab\.com|bitbucket\.org|codeberg\.org"
    r"|ghcr\.io|quay\.io|docker\.io|hub\.docker\.com/r|(?:[a-z]+\.)?gcr\.io|public\.ecr\.aws|huggingface\.co)"
)
# A host of code or images, and whose it is.
NAMED = re.compile(rf"{HOSTS}[:/]([\w.{{}}$<>*-]+)/[\w.{{}}$<>-]+")
# A team of GitHub, as CODEOWNERS names it; an action is `name/name@commit`, the other way round.
TEAM = re.compile(r"(?:^|[\s`])@(?!your-organisation/)[a-z0-9][a-z0-9-]*/[a-z0-9-]+\b", re.MULTILINE)
# An image without a host comes from Docker Hub: one with a slash is somebody's there.
IMAGE = re.compile(
    r"(?:^\s*(?:-\s+)?(?:image|newName):|^FROM|_IMAGE[:=]-?|docker (?:run|pull)\s+(?:-\S+\s+)*)\s*"
    r"[\"']?(?:\$\{\w+:-)?([a-z0-9_-]+/[a-z0-9._/-]+)",
    re.MULTILINE,
)
# Upstream, in links; a variable; and places for a name. What tests call a repository is never asked for.
UPSTREAM = {"apache", "github", "iterative", "nektos", "otel"}
PLACES, IN_TESTS = {"OWNER"}, {"acme", "some-one", "team"}
# Files that are applied as they are: to a cluster, a server, a forge.
APPLIED = (".env.example", ".github/", "docker-compose.yml", "environments/", "infra/", "scripts/")
ADDRESS = re.compile(r"\b(?:https?|ssh|git)://(?:[^@/\s'\"]*@)?([\w.-]+)|\bgit@([\w.-]+):")
HARMLESS = re.compile(r"(.*\.)?(invalid|example\.(org|com|net)|localhost)|127\.0\.0\.1|[a-z0-9-]+")
# json-schema.org is the name of a dialect; nothing asks it.
KNOWN = {
    "docs.docker.com",
    "docs.github.com",
    # Whose repository it is there is checked above.
    "github.com",
    "hooks.slack.com",
    "json-schema.org",
    "kubernetes.default.svc",
}

APPLICATIONS = (ROOT / "infra/argocd/applicationset.yaml").read_text()
IMAGES = yaml.safe_load((ROOT / "environments/dev/kustomization.yaml").read_text())["images"]
OURS = [*re.findall(r"repoURL: (\S+)", APPLICATIONS)[:1], IMAGES[0]["newName"]]
# Whoever took this repository over has put names in; docs/github-setup.md.
TAKEN_OVER = not any(".invalid/" in name for name in OURS)


def tracked() -> list[Path]:
    listed = Repository(ROOT).git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return [Path(name) for name in listed if name and (ROOT / name).is_file()]


def foreign(name: Path, text: str) -> list[str]:
    """Names of somebody else in a file."""
    allowed = UPSTREAM | PLACES | (IN_TESTS if name.parts[0] == "tests" else set())
    if TAKEN_OVER:
        allowed |= {one[1] for ours in OURS for one in NAMED.finditer(ours)}
    named = [one for one in NAMED.finditer(text) if not one[1].startswith(("{", "$"))]
    found = [one[0] for one in named if one[1] not in allowed]
    found += [one[0].strip() for one in IMAGE.finditer(text) if one[1].split("/")[0] not in allowed]
    if not TAKEN_OVER and (name.suffix == ".md" or name.name == "CODEOWNERS"):
        found += [one[0] for one in TEAM.finditer(text)]
    return [f"{name}: {one}" for one in found]


def test_no_file_names_what_belongs_to_somebody_else() -> None:
    found = []
    for name in tracked():
        if name in (Path("requirements.lock"), Path("tests/test_names.py")):
            continue
        try:
            found += foreign(name, (ROOT / name).read_text())
        except UnicodeDecodeError:
            continue  # a picture
    assert found == [], "write OWNER, or a host under .invalid"


@pytest.mark.parametrize(
    "text",
    [
        "repoURL: https://github.com/stranger/visage.git",
        "git@github.com:stranger/visage.git",
        "newName: ghcr.io/stranger/visage-airflow",
        "image: quay.io/stranger/airflow:1",
        "    image: stranger/airflow:1",
        "  - image: 'stranger/airflow'",
        "    newName: stranger/visage-airflow",
        "    image: ${VISAGE_IMAGE:-stranger/airflow:1}",
        "FROM stranger/airflow:1 AS base",
        "ARG BASE_IMAGE=stranger/python:3.11",
        "docker run --rm stranger/airflow",
        "curl https://raw.githubusercontent.com/stranger/visage/main/install.sh | sh",
        "registry.gitlab.com/stranger/visage",
        "hub.docker.com/r/stranger/visage",
    ],
)
def test_a_name_of_somebody_else_is_found(text: str) -> None:
    assert foreign(Path("docs/page.md"), text)
    assert foreign(Path("tests/test_it.py"), text)


def test_a_team_of_somebody_else_is_found() -> None:
    assert TAKEN_OVER or foreign(Path(".github/CODEOWNERS"), "* @stranger/owners")


@pytest.mark.parametrize("name", [name for name in tracked() if str(name).startswith(APPLIED)], ids=str)
def test_what_is_applied_asks_no_host_that_anybody_can_own(name: Path) -> None:
    known = KNOWN | (
        {one[1] or one[2] for ours in OURS for one in ADDRESS.finditer(ours)} if TAKEN_OVER else set()
    )
    for found in ADDRESS.finditer((ROOT / name).read_text(errors="replace")):
        host = found[1] or found[2]
        assert host in known or HARMLESS.fullmatch(host), f"{name}: {found[0]}"


def rules() -> list[tuple[str, list[str]]]:
    lines = (ROOT / ".github/CODEOWNERS").read_text().splitlines()
    return [(line.split()[0], line.split()[1:]) for line in lines if line and not line.startswith("#")]


def test_everything_has_an_owner_but_for_what_visage_itself_commits() -> None:
    (everything, owners), *exceptions = rules()
    assert everything == "*"
    assert owners
    assert TAKEN_OVER or all(owner.endswith(".invalid") for owner in owners), "a place for a name is nobody's"
    dvc = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    made = {
        f"/{path.split('/')[0]}/"
        for stage in dvc
        for out in [*stage["outs"], *stage.get("metrics", [])]
        if isinstance(out, dict)
        for path, options in out.items()
        if options.get("cache") is False
    }
    promoted = "/environments/staging/release.yaml"
    assert {path for path, _ in exceptions} == {*made, "/data/labelled/*.dvc", "/dvc.lock", promoted}
    assert all(not named for _, named in exceptions)


def test_the_ruleset_asks_owners_and_never_whoever_pushed_last() -> None:
    rule = yaml.safe_load((ROOT / ".github/rulesets/main.json").read_text())["rules"]
    (found,) = [one["parameters"] for one in rule if one["type"] == "pull_request"]
    assert found["require_code_owner_review"] is True
    assert found["require_last_push_approval"] is True
    # Without an approval there is none for the last push either.
    assert found["required_approving_review_count"] >= 1
    assert found["dismiss_stale_reviews_on_push"] is True


@pytest.mark.skipif(TAKEN_OVER, reason="the names are in")
def test_one_command_puts_the_names_of_a_reader_everywhere(tmp_path: Path) -> None:
    (block,) = [one for one in Page(Path("docs/github-setup.md")).blocks if "gitops adopt" in one.text]
    _, _, name, *options = shlex.split(block.text)
    for file in tracked():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    repository = Repository(tmp_path)
    repository.git("init", "--quiet", "--initial-branch=main", "--template=")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--no-verify", "--message", "Start", env=repository.identity())
    start = repository.resolve("HEAD")
    assert adoption.leftovers(repository, start) == [], "a repository as it is published works as it is"
    gitops = [sys.executable, "-m", "gitops"]
    subprocess.run([*gitops, "adopt", name, *options], cwd=tmp_path, check=True, timeout=60)

    assert repository.git("status", "--porcelain") == ""
    [adopted] = repository.log("HEAD", options=("-1",))
    assert adopted.subject == f"Adopt the repository as {name}"
    for file in tracked():
        if str(file).startswith((".github/", "environments/", "infra/")) and file.suffix != ".py":
            text = (tmp_path / file).read_text(errors="replace")
            assert ".invalid" not in text, file
            assert "OWNER/" not in text.replace("OWNER/NAME", ""), file
    owners = (tmp_path / ".github/CODEOWNERS").read_text()
    given = " ".join(options[index + 1] for index, one in enumerate(options) if one == "--owner")
    assert re.search(rf"^\*\s+{re.escape(given)}$", owners, re.MULTILINE)
    applications = (tmp_path / "infra/argocd/applicationset.yaml").read_text()
    assert applications.count(f"https://github.com/{name}.git") == 3
    for environment in ENVIRONMENTS:
        text = (tmp_path / f"environments/{environment}/kustomization.yaml").read_text()
        assert text.count(f"ghcr.io/{name.split('/')[0]}/visage-airflow") == 1
    assert adoption.leftovers(repository, "HEAD") == []

    path = "environments/prod/kustomization.yaml"
    back = repository.commit_files("HEAD", {path: repository.read(start, path)}, "Bring a placeholder back")
    [found] = adoption.leftovers(repository, back)
    assert (found.subject, found.command) == (path, ".venv/bin/gitops adopt OWNER/REPO")
    again = subprocess.run([*gitops, "adopt", name], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (again.returncode, "filled in before" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("visage", {}),
        ("https://github.com/a/b", {}),
        ("a/b c", {}),
        ("a/b", {"image": "registry.invalid/OWNER/visage-airflow"}),
        ("a/b", {"image": "x y"}),
        ("a/b", {"repository": "https://x/$(id)' y"}),
        ("a/b", {"owners": ["you"]}),
        ("a/b", {"owners": ["@you\n* @eve"]}),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(GitopsError, match="not "):
        adoption.Names.of(name, **options)
