"""`make new-environment`: its files, and that releases pass the environments that it makes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from gitops.airflow.ask import collect
from gitops.errors import GitopsError, NothingToDoError, RuleError
from gitops.forge.promotions import plan
from gitops.promotion.merge import check
from gitops.promotion.promotions import promote, promote_wave
from gitops.promotion.proposals import push
from gitops.release import keys, settings
from gitops.release.environments import Color, Environments
from infra import new_environment
from infra.new_environment import NewEnvironmentError
from tests.dashboard import test_contrast
from tests.support.environments import ROOT, THESE
from tests.support.lab import Lab

WIDE = ("dev", "qa", "staging", "prod-eu", "prod-us")


def make(folder: Path, name: str, *after: str, wave: str = "") -> dict[str, str]:
    made = new_environment.make(folder, name, list(after), wave, "")
    new_environment.write(folder, made)
    return made


def put_before(folder: Path, name: str, other: str) -> None:
    """Write `after: [name]` into the environment.yaml of another environment, as a person does."""
    path = folder / "environments" / other / "environment.yaml"
    text = path.read_text()
    lines = [f"after: [{name}]" if one.startswith("after:") else one for one in text.splitlines()]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "environments", tmp_path / "environments")
    return tmp_path


@pytest.fixture(scope="module")
def wide_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with qa between dev and staging, and prod-eu and prod-us in the place of prod."""
    folder = tmp_path_factory.mktemp("wide") / "lab"
    lab = Lab(folder)
    overlays = {
        path: (ROOT / path).read_bytes()
        for path in (f"environments/{name}/kustomization.yaml" for name in THESE)
    }
    lab.land(overlays)
    lab.clone.git("pull", "--quiet", "origin", "main")
    work = lab.clone.path
    make(work, "qa", "dev")
    put_before(work, "qa", "staging")
    merge_all(lab, "add-qa")
    make(work, "prod-eu", "staging", wave="prod")
    make(work, "prod-us", "staging", wave="prod")
    shutil.rmtree(work / "environments" / "prod")
    merge_all(lab, "two-prods")
    return folder


def merge_all(lab: Lab, branch: str) -> None:
    """Commit everything in the clone, with the keys of new environments, and merge it with all checks."""
    for folder in (lab.clone.path / "environments").iterdir():
        if folder.is_dir():
            (folder / keys.FILE).write_bytes(lab.key(folder.name).line(folder.name))
    lab.clone.git("checkout", "--quiet", "-b", branch)
    lab.clone.git("add", "--all")
    lab.clone.git("commit", "--quiet", "-m", branch, env=lab.clone.identity())
    lab.clone.git("push", "--quiet", "origin", branch)
    assert check(lab.clone, lab.state(), lab.clone.resolve("HEAD")).findings == ()
    lab.merge(branch)
    lab.clone.git("checkout", "--quiet", "main")
    lab.clone.git("pull", "--quiet", "origin", "main")


@pytest.fixture
def wide(wide_lab: Path, tmp_path: Path) -> Lab:
    return Lab(tmp_path / "lab", wide_lab)


def test_it_is_valid_as_it_is_made(checkout: Path) -> None:
    made = make(checkout, "qa", "dev")
    assert [path.rpartition("/")[2] for path in made] == [
        "environment.yaml",
        "release.yaml",
        "settings.env",
        "kustomization.yaml",
    ]
    found = Environments.from_folder(checkout)
    assert found.names == ("dev", "qa", "staging", "prod")
    assert found["qa"].title == "QA"
    loaded = settings.load("qa", checkout)
    assert (loaded.web_port, loaded.web_host, loaded.default_password) == (8083, "qa.localhost", "")
    overlay = (checkout / "environments/qa/kustomization.yaml").read_text()
    assert "namespace: visage-qa\n" in overlay
    assert "BASE_URL=http://qa.localhost:8083\n" in overlay
    for name in THESE:
        assert f"visage-{name}" not in overlay
        assert name not in (checkout / "environments/qa/settings.env").read_text().replace("/dev", "")


def test_many_are_told_apart(checkout: Path) -> None:
    for number in range(len(get_args(Color)) - len(THESE.names)):
        make(checkout, f"qa{number}", "dev")
    found = Environments.from_folder(checkout)
    loaded = [settings.load(name, checkout) for name in found]
    assert len({one.color for one in found.all}) == len({one.web_port for one in loaded}) == len(found.all)
    with pytest.raises(NewEnvironmentError, match="more: all colours are used; set the wave"):
        make(checkout, "more", "dev")
    make(checkout, "prod-eu", "staging", wave="prod")
    assert Environments.from_folder(checkout)["prod-eu"].color == found["prod"].color


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("color", get_args(Color))
def test_every_colour_can_be_read_and_is_none_of_a_state(
    color: Color, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theme = json.loads(new_environment.theme(color))
    brand = {f"brand-{shade}": one["value"] for shade, one in theme["tokens"]["colors"]["brand"].items()}
    monkeypatch.setattr(test_contrast, "brand", lambda environment: brand)
    test_contrast.test_what_is_written_can_be_read("", scheme)
    assert all(170 <= float(value.removesuffix(")").split()[-1]) <= 330 for value in brand.values())


@pytest.mark.parametrize(
    ("name", "after", "wave", "says"),
    [
        ("", ["dev"], "", "set name and predecessors: make new-environment NAME=qa AFTER=dev"),
        ("qa", [], "", "set name and predecessors"),
        ("QA", ["dev"], "", "'QA': no such environment, and no name for one; use at most 30"),
        ("../qa", ["dev"], "", "no such environment, and no name for one"),
        ("main", ["dev"], "", "main: git or the local engine uses that name"),
        ("staging", ["dev"], "", "staging: environments/staging already exists"),
        ("qa", ["lab"], "", "after: lab: no such environment; there are dev, prod, staging"),
        ("qa", ["dev", "dev"], "", "names an environment twice"),
        ("qa", ["prod"], "prod", "wave: prod has prod too, which comes before qa"),
        ("qa", ["dev"], "A wave", "wave: 'A wave': string should match"),
    ],
)
def test_refuses_in_one_line_and_writes_nothing(
    checkout: Path, name: str, after: list[str], wave: str, says: str
) -> None:
    before = sorted(checkout.rglob("*"))
    with pytest.raises((NewEnvironmentError, GitopsError)) as caught:
        make(checkout, name, *after, wave=wave)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(checkout.rglob("*")) == before


def test_make_hands_on_what_it_is_given(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), "clone"], cwd=tmp_path, check=True, timeout=120)
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "environments", clone / "environments", dirs_exist_ok=True)
    for path in ("Makefile", "infra/new_environment.py"):
        shutil.copy2(ROOT / path, clone / path)
    (clone / ".venv/bin").mkdir(parents=True)
    python = clone / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["make", "--silent", "--old-file=setup", "new-environment", *arguments]
        return subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=120, check=False)

    done = run("NAME=prod-eu", "AFTER=staging", "WAVE=prod", "TITLE=The EU's own")
    assert done.returncode == 0, done.stderr
    assert Environments.from_folder(clone)["prod-eu"].title == "The EU's own"
    assert "VISAGE_ENVIRONMENTS=staging,prod-eu make up" in done.stdout
    refused = run("NAME=$$(touch x)", "AFTER=dev")
    assert refused.returncode != 0
    assert (
        "Cannot create the environment: '$(touch x)': no such environment, and no name for one"
        in refused.stderr
    )
    assert not (clone / "x").exists()


@pytest.mark.long
def test_releases_pass_the_graph(wide: Lab) -> None:
    assert wide.state().environments.names == WIDE
    commit = wide.train("a")
    with pytest.raises(NothingToDoError, match="qa has no release to promote to staging"):
        promote(wide.clone, wide.state(), "staging", "origin")
    states = {
        name: plan(wide.clone, wide.state(), name, "origin").state
        for name in wide.state().environments.promotable
    }
    assert states == {"qa": "open", "staging": "wait", "prod-eu": "wait", "prod-us": "wait"}
    qa = wide.promote("qa")
    wide.merge(qa.branch)
    with pytest.raises(RuleError, match="qa has not verified"):
        promote(wide.clone, wide.state(), "staging", "origin")
    wide.verify("qa", commit)
    assert wide.release("staging") == commit
    assert wide.release("prod-us") == commit
    assert wide.state().present("prod-eu").commit is None


def ready(wide: Lab) -> str:
    """Bring a release to where it can be promoted to the wave prod."""
    commit = wide.train("a")
    wide.release("qa")
    wide.release("staging")
    return commit


def test_one_proposal_promotes_a_wave(wide: Lab) -> None:
    commit = ready(wide)
    state = wide.state()
    proposal = promote_wave(wide.clone, state, "prod", "origin")
    assert (proposal.branch, proposal.known) == ("promote-wave/prod", False)
    assert proposal.message.startswith(
        f"Promote {commit[:12]} to prod-eu, prod-us\n\nRelease: no release -> "
    )
    changed = wide.clone.changed(state.tip, proposal.commit)
    assert changed == ["environments/prod-eu/release.yaml", "environments/prod-us/release.yaml"]
    push(wide.clone, "origin", proposal)
    assert set(check(wide.clone, wide.state(), proposal.commit).gates) == {"prod-eu", "prod-us"}
    wide.merge("promote-wave/prod")
    assert not wide.origin.has("refs/heads/promote-wave/prod")
    rows = collect(wide.clone, wide.state(), {})
    assert [(row.wave, row.environment, row.declared) for row in rows[3:]] == [
        ("prod", "prod-eu", commit),
        ("prod", "prod-us", commit),
    ]
    with pytest.raises(NothingToDoError, match=r"prod-eu already has .*; prod-us already has "):
        promote_wave(wide.clone, wide.state(), "prod", "origin")


def test_a_wave_takes_those_that_lack_the_release_and_none_that_is_held(wide: Lab) -> None:
    commit = ready(wide)
    wide.release("prod-eu")
    state = wide.state()
    proposal = promote_wave(wide.clone, state, "prod", "origin")
    assert wide.clone.changed(state.tip, proposal.commit) == ["environments/prod-us/release.yaml"]
    wide.declare("prod-us", "commit: null\n")
    wide.land({"environments/prod-us/release.yaml": f"commit: {commit}\nhold: on fire\n".encode()})
    later = wide.train("b")
    for name in ("qa", "staging"):
        assert wide.release(name) == later
    with pytest.raises(RuleError, match="prod-us is held: on fire"):
        promote_wave(wide.clone, wide.state(), "prod", "origin")
    with pytest.raises(RuleError, match="dev: dev always runs main"):
        promote_wave(wide.clone, wide.state(), "dev", "origin")
    with pytest.raises(GitopsError, match="no such wave; there are dev, qa, staging, prod"):
        promote_wave(wide.clone, wide.state(), "canary", "origin")


def test_check_accepts_a_whole_wave_and_nothing_beside_it(wide: Lab) -> None:
    old = ready(wide)
    for name in ("prod-eu", "prod-us"):
        wide.release(name)
    commit = wide.train("b")
    for name in ("qa", "staging"):
        wide.release(name)
    eu, us, staging = (f"environments/{name}/release.yaml" for name in ("prod-eu", "prod-us", "staging"))
    forward = f"commit: {commit}\n".encode()

    def found(files: dict[str, bytes]) -> str:
        head = wide.branch("edit", files)
        wide.clone.fetch("origin")
        return "\n".join(map(str, check(wide.clone, wide.state(), head).findings))

    assert found({eu: forward, us: forward}) == ""
    assert found({eu: forward}) == ""
    more = {"README.md": b"x\n"}
    assert f"{eu}: changes together with README.md" in found({eu: forward, us: forward, **more})
    back = f"commit: {old}\nhold: slow\n".encode()
    assert "changes together with" in found(
        {eu: forward, us: b"# held\n" + f"commit: {old}\nhold: x\n".encode()}
    )
    assert "changes together with" in found({eu: forward, staging: back})
    other = wide.land({"README.md": b"news\n"})
    mixed = found({eu: forward, us: f"commit: {other}\n".encode()})
    assert f"{eu}: changes together with {us}" in mixed
    assert "prod-us takes the release of staging" in mixed


def test_several_before_one_must_all_have_verified_one_release(wide: Lab) -> None:
    wide.clone.git("pull", "--quiet", "origin", "main")
    make(wide.clone.path, "perf", "qa")
    put_before(wide.clone.path, "perf, staging", "prod-eu")
    merge_all(wide, "perf")
    commit = ready(wide)
    assert plan(wide.clone, wide.state(), "prod-eu", "origin").state == "wait"
    with pytest.raises(NothingToDoError, match="perf and staging has no release to promote"):
        promote(wide.clone, wide.state(), "prod-eu", "origin")
    wide.merge(wide.promote("perf").branch)
    with pytest.raises(RuleError, match="perf has not verified"):
        promote(wide.clone, wide.state(), "prod-eu", "origin")
    wide.verify("perf", commit)
    assert promote(wide.clone, wide.state(), "prod-eu", "origin").after.commit == commit
    later = wide.train("b")
    wide.release("qa")
    wide.release("perf")
    with pytest.raises(
        RuleError, match=f"prod-eu takes the release of staging .*{commit[:12]}.*, not {later[:12]}"
    ):
        promote(wide.clone, wide.state(), "prod-eu", "origin")
    assert (
        plan(wide.clone, wide.state(), "prod-eu", "origin").text
        == f"{later[:12]} is due, but staging runs {commit[:12]}"
    )


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"environments/qa/settings.env": b""}, "environments/qa/settings.env"),
        ({"environments/qa/release.yaml": None}, "environments/qa/release.yaml: missing; restore it"),
        ({"environments/qa/environment.yaml": None}, "after: qa: no such environment"),
        ({"environments/prod-eu/environment.yaml": None}, "environment.yaml: missing; restore it, or remove"),
        (
            {"environments/lab/release.yaml": b"commit: null\n"},
            "environments/lab/release.yaml: no such environment",
        ),
        (
            dict.fromkeys(f"environments/{name}/environment.yaml" for name in WIDE),
            "no environment.yaml is left",
        ),
    ],
)
def test_check_names_what_is_wrong_with_a_folder(
    wide: Lab, files: dict[str, bytes | None], says: str
) -> None:
    head = wide.branch("edit", files)
    wide.clone.fetch("origin")
    assert says in "\n".join(map(str, check(wide.clone, wide.state(), head).findings))


def test_check_names_two_environments_with_one_port(wide: Lab) -> None:
    path = "environments/qa/settings.env"
    content = (wide.origin.read("main", path) or b"").replace(b"WEB_PORT=8083", b"WEB_PORT=8081")
    head = wide.branch("edit", {path: content})
    wide.clone.fetch("origin")
    assert "WEB_PORT: 8081 is that of qa; choose another port" in str(
        check(wide.clone, wide.state(), head).findings[0]
    )


def test_a_new_environment_begins_without_a_release(wide: Lab) -> None:
    commit = ready(wide)
    files = {
        path: text.encode() for path, text in new_environment.make(ROOT, "lab", ["staging"], "", "").items()
    }
    files["environments/lab/release.yaml"] = f"commit: {commit}\n".encode()
    files["environments/lab/settings.env"] = files["environments/lab/settings.env"].replace(b"8083", b"9000")
    files["environments/lab/environment.yaml"] = b"title: Lab\ncolor: slate\nafter: [staging]\n"
    head = wide.branch("lab", files)
    wide.clone.fetch("origin")
    findings = "\n".join(map(str, check(wide.clone, wide.state(), head).findings))
    assert "lab is not on main yet; write `commit: null`; promote into it after the merge" in findings


def test_another_environment_can_come_first(wide: Lab) -> None:
    lab, dev = "environments/lab/", "environments/dev/"
    files = {
        path: text.encode() for path, text in new_environment.make(ROOT, "lab", ["staging"], "", "").items()
    }
    files |= {
        f"{lab}settings.env": files[f"{lab}settings.env"].replace(b"8083", b"9000"),
        f"{lab}environment.yaml": b"title: Lab\ncolor: slate\n",
        f"{lab}release.yaml": b"follow: main\n",
        f"{dev}environment.yaml": b"title: Development\ncolor: teal\nafter: [lab]\n",
        f"{dev}release.yaml": b"commit: null\n",
        keys.path_of("lab"): wide.key("lab").line("lab"),
    }
    wide.branch("lab", files)
    wide.merge("lab")
    state = wide.state()
    assert (state.environments.root, state.declared("lab").commit) == ("lab", wide.tip)
    commit = wide.train("a", verified=False)
    wide.verify("lab", commit)
    assert wide.release("dev") == commit
