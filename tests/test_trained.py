"""What Visage itself commits passes the checks of a pull request: candidates, releases, rollbacks, DAGs."""

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ruamel.yaml import YAML

from gitops.git.workspace import Origin
from gitops.promotion.holds import unhold
from gitops.promotion.promotions import promote
from gitops.promotion.rollbacks import rollback
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.training.verification import verify
from tests.support import planted
from tests.support.command import captured
from tests.support.planted import Ground
from tests.support.trained import Trained, dvc

# The first of them waits for the training, which takes a minute, or ten times that on a busy machine.
pytestmark = pytest.mark.timeout(900)

# They run pytest, or check the types of every file. The test that needs many minutes runs them too.
SLOW_HOOKS = "dags,docs,basedpyright"
# A key's form, put together here so that the hook does not find it in this file.
AWS = "AKIA" + "QYLPMN5HFIQR7XYA"
DIGEST = hashlib.sha256(b"a key").hexdigest()

REASONS = [
    "rolled back from 5e80502c0ffee",
    "5e80502c0ffee5e80502c0ffee5e80502c0ffee12",  # pragma: allowlist secret
    "accuracy: 0.71, password: unknown, secret=lost",
    'he said "no" & it\'s late; #12 {a: [b]} * ! | > % @ `x`',
    "yes",
    "null",
    "1e3",
    "=",
    "- - -",
    "<<<<<<< HEAD",
    "Modèle dégradé, 顔 🙂",
    "https://status.example.org/incidents/9c1d2f00-1b7e-4e55-9a3c-aa40b2f1d7e1?view=full#top",
    "INC0012345/rollback_JKLMNOPqrstuvwxyz0987654321+due=to=accuracy",  # pragma: allowlist secret
    "long " + "word " * 200,
]


def pre_commit(checkout: Path, *arguments: str, skip: str = SLOW_HOOKS) -> None:
    """Run the hooks as `make lint` does, on some files."""
    done = captured(
        [".venv/bin/pre-commit", "run", "--show-diff-on-failure", *arguments],
        cwd=checkout,
        env={**os.environ, "SKIP": skip},
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Failed" not in done.stdout


def hook(name: str) -> list[str]:
    """The command of a hook."""
    root = Path(__file__).resolve().parents[1]
    hooks = YAML(typ="safe").load((root / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (one,) = [one for one in hooks if one["id"] == name]
    return [word.replace("scripts/", f"{root}/scripts/", 1) for word in shlex.split(one["entry"])]


def gitops(checkout: Path, *arguments: str) -> str:
    """Run gitops as a person does, and return its output."""
    done = captured([sys.executable, "-m", "gitops", *arguments], cwd=checkout, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def released(trained: Trained) -> None:
    """Merge the candidate, a new DAG, and promotions of both to staging."""
    trained.verify("dev", trained.merge(trained.branch))
    trained.merge(trained.push(promote(trained.checkout, trained.state(), "staging", "origin")))
    staged = trained.state().present("staging").commit
    assert staged
    trained.verify("staging", staged)
    subprocess.run(
        [sys.executable, "-m", "infra.new_dag", "--", "count_faces"],
        cwd=trained.checkout.path,
        check=True,
        capture_output=True,
        timeout=60,
    )
    trained.verify("dev", trained.commit("Count faces"))
    trained.merge(trained.push(promote(trained.checkout, trained.state(), "staging", "origin")))


def test_a_checkout_of_it_is_never_installed(trained: Trained) -> None:
    for revision in (trained.candidate, "origin/main"):
        trained.check_out(revision)
        command = ["make", "--question", "setup"]
        done = subprocess.run(command, cwd=trained.checkout.path, check=False, timeout=60)
        assert done.returncode == 0, "make would install it into the .venv that runs this test"


def test_a_candidate_passes_every_hook_and_may_be_merged(trained: Trained) -> None:
    checkout = trained.checkout
    committed = checkout.git("diff", "--name-only", trained.base, trained.check_out(trained.candidate))
    for name in ("dvc.lock", "metrics/evaluation.json", "metrics/drifted.json", "search/trials.csv"):
        assert name in committed.splitlines()
    assert ".parquet.dvc" in committed
    pre_commit(checkout.path, "--from-ref", trained.base, "--to-ref", trained.candidate)

    trained.check_out("origin/main")
    check = ("check", "--without-dvc-remote", "--head")
    assert "OK to merge " in gitops(checkout.path, *check, trained.branch)
    trained.merge(trained.branch)
    # A change of words, once main has a model
    (checkout.path / "README.md").open("a").write("\nMore words.\n")
    words = trained.commit("Write")
    assert "OK to merge " in gitops(checkout.path, *check, words)


@pytest.mark.long
def test_releases_rollbacks_and_new_dags_pass_every_hook(trained: Trained) -> None:
    checkout = trained.checkout
    before = trained.candidate
    released(trained)
    trained.merge(
        trained.push(rollback(trained.checkout, trained.state(), "staging", "origin", reason=REASONS[1]))
    )
    assert f"hold: {REASONS[1]}" in (checkout.path / release_file.path_of("staging")).read_text()
    pre_commit(checkout.path, "--from-ref", before, "--to-ref", "HEAD")
    held = checkout.resolve("HEAD")
    trained.merge(trained.push(unhold(trained.checkout, trained.state(), "staging", "origin")))
    pre_commit(checkout.path, "--from-ref", held, "--to-ref", "HEAD")


def test_a_release_file_passes_every_hook_whatever_the_reason_of_its_hold(trained: Trained) -> None:
    checkout, first = trained.checkout, trained.base
    for number, reason in enumerate(REASONS):
        # Hooks look at names, and these are those of release files
        path = checkout.path / f"environments/number{number}/release.yaml"
        path.parent.mkdir()
        path.write_bytes(release_file.render(Release(commit=first, hold=" ".join(reason.split())), "prod"))
    signers = checkout.path / "environments/allowed_signers"
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    signers.write_text(f'ann@example.org namespaces="git" {key.decode()}\n')
    trained.commit("Hold for many reasons")
    pre_commit(checkout.path, "--from-ref", first, "--to-ref", "HEAD")


def test_a_secret_is_found_in_every_file_that_visage_commits(trained: Trained) -> None:
    checkout = trained.checkout
    trained.check_out(trained.candidate)
    changed = checkout.git("diff", "--name-only", trained.base, "HEAD").splitlines()
    names = [name for name in changed if not name.endswith(".jpg")]
    for name in names:
        path = checkout.path / name
        # On a line of its own, and beside a digest
        planted = path.read_text().replace('_sha256": "', f'_sha256": "{AWS}", "also": "', 1) + f"# {AWS}\n"
        path.write_text(planted)
    found = captured([*hook("secrets"), *names], cwd=checkout.path).stdout
    assert {name for name in names if f"{name}:" not in found} == set()
    evaluation = (checkout.path / "metrics/evaluation.json").read_text().splitlines()
    beside = next(number for number, line in enumerate(evaluation, start=1) if '"also"' in line)
    assert f"metrics/evaluation.json:{beside}" in found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"hold: the key {AWS} is out", True),
        ("hold: see https://me:" + "tru7h@example.org", True),
        ("hold: ghp_" + "wWPw5k4aXcaT4f" + "NP0UcnZwJUVFk6LO0pINUx", True),
        ("hold: " + REASONS[2], False),
    ],
)
def test_a_secret_in_a_release_file_is_found_by_its_form(tmp_path: Path, text: str, found: bool) -> None:
    (tmp_path / "release.yaml").write_text(f"{text}\n")
    command = [*hook("release-secrets"), "release.yaml"]
    done = captured(command, cwd=tmp_path)
    assert done.returncode == int(found), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("settings.env", f"API_KEY={DIGEST[:32]}"),
        ("a.json", f'"api_key": "{DIGEST}"'),
        ("a.yaml", f"token: {DIGEST}"),
        ("a.yaml", f"md5: {DIGEST}"),
    ],
)
def test_a_key_that_looks_like_a_digest_is_found(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / name).write_text(f"{line}\n")
    command = [*hook("secrets"), name]
    done = captured(command, cwd=tmp_path)
    assert done.returncode == 1, done.stdout


# The tests that read the repository's own files: what Visage commits must not fail them.
OWN_FILES = [
    "tests/docs",
    "tests/dags/test_engines.py",
    "tests/dags/test_policy.py",
    "tests/face_attributes/test_pipeline.py",
    "tests/gitops/release/test_settings.py",
    "tests/infra/kubernetes",
    "tests/infra/test_new_dag.py",
    "tests/test_hooks.py",
    "tests/test_lock.py",
    "tests/test_makefile.py",
    "tests/test_names.py",
    "tests/test_readme.py",
    "tests/workflows/test_files.py",
]


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_lint_and_the_tests_of_a_repository_that_has_released(trained: Trained) -> None:
    checkout = trained.checkout.path

    def run(*command: str) -> None:
        own = {**os.environ, "PYTHONPATH": str(checkout / "src")}
        done = captured(command, cwd=checkout, env=own, timeout=1400)
        assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]

    # As make lint, which takes no PYTHONPATH: the .venv is that of this checkout, and would bring its code
    lint = (".venv/bin/pre-commit", "run", "--all-files", "--show-diff-on-failure")
    trained.check_out(trained.candidate)
    run(*lint)
    released(trained)
    trained.merge(trained.push(rollback(trained.checkout, trained.state(), "staging", "origin")))
    run(*lint)
    run(".venv/bin/python", "-m", "pytest", "--quiet", "-m", "not system and not long", *OWN_FILES)


@pytest.mark.long
def test_the_evaluation_of_a_release_gives_its_decisions_and_its_latency(
    trained_once: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that answers as well and takes ten times as long is rejected by what it really takes."""
    trained = trained_once.copy_whole(tmp_path / "trained")
    release, origin = trained.candidate, trained.origin
    origin.git("update-ref", "refs/heads/main", release)
    ground = Ground(origin, trained.folder / "store", trained.folder / "keys" / "dev", release)
    place = Origin(str(origin.path))
    with dvc(trained.folder):
        monkeypatch.setenv("MAX_LATENCY_MS", "10000")
        verdict = verify(place, release, "dev", home=tmp_path / "spaces")
        checks = {check.name: check for check in verdict.checks}
        assert verdict.verdict == "verified", verdict.reason
        assert checks["changed decisions"].value.startswith("0 of ")
        assert verdict.latency_ms is not None
        limit = 4 * verdict.latency_ms
        monkeypatch.setenv("MAX_LATENCY_MS", str(limit))
        slow = ground.plant(planted.slower(ground.model, 10, 3 * limit))
        rejection = verify(place, slow, "dev", home=tmp_path / "spaces")
    assert rejection.measured_accuracy == verdict.measured_accuracy, "it answers as well"
    assert rejection.verdict == "rejected"
    assert rejection.reason.startswith("latency of one image: ")
