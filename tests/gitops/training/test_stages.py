"""Steps on a real pipeline of two stages, a real origin and a real DVC remote in a folder."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gitops import isolation
from gitops.dvc import provenance
from gitops.dvc import run as dvc_run
from gitops.dvc.lockfile import Lock
from gitops.errors import StepError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin, workspace
from gitops.history import runs
from gitops.model.cost import Cost, StageCost
from gitops.training import stages
from tests.support.waiting import wait_for, working_in

PIPELINE = """\
stages:
  double:
    cmd: python -c "print(int(open('number.txt').read()) * 2, file=open('double.txt', 'w'))"
    deps: [number.txt]
    outs: [double.txt]
  report:
    cmd: python -m report
    deps: [double.txt, src/report.py]
    metrics:
      - report.json: {cache: false}
"""
REPORT = """\
import json
from pathlib import Path

number = int(Path("double.txt").read_text())
if number == 26:
    raise SystemExit("26: unlucky")
Path("report.json").write_text(json.dumps({"number": number}))
"""


@pytest.fixture
def origin(tmp_path: Path, dvc_remote: Path, made_once: Callable[..., None]) -> Repository:
    """A bare origin whose `main` holds the pipeline, with nothing run yet."""
    made_once(make)
    return Repository(tmp_path / "origin.git")


def make(folder: Path) -> None:
    checkout = folder / "checkout"
    (checkout / "src").mkdir(parents=True)
    (checkout / "dvc.yaml").write_text(PIPELINE)
    (checkout / "number.txt").write_text("21\n")
    (checkout / "src" / "report.py").write_text(REPORT)
    repository = Repository(checkout)
    repository.git("init", "--quiet", "--initial-branch=main")
    subprocess.run(["dvc", "init", "--quiet"], cwd=checkout, check=True, timeout=60)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message=Start", env=repository.identity())
    Repository.clone(str(checkout), folder / "origin.git", "--bare")


def test_dvc_keeps_its_cache_where_no_other_user_can_write(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DVC_SITE_CACHE_DIR")
    with workspace(Origin(str(origin.path)), origin.resolve("main"), tmp_path / "spaces") as space:
        with caplog.at_level("INFO", "gitops.dvc.run"):
            dvc_run.call(["dvc", "doctor"], space.path, timedelta(minutes=1))
        (line,) = [text for text in caplog.messages if text.startswith("Repo.site_cache_dir: ")]
        used = Path(line.removeprefix("Repo.site_cache_dir: "))
        assert used.is_relative_to(space.path)
        assert space.path.stat().st_mode & 0o077 == 0


def run(origin: Repository, commit: str, stage: str, home: Path) -> str:
    return stages.run_stage(Origin(str(origin.path)), commit, stage, branch="run/one", home=home)


def test_a_chain_of_steps_leaves_commits_metrics_and_data(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    start, spaces = origin.resolve("main"), tmp_path / "spaces"
    doubled = run(origin, start, "double", spaces)
    # The next step may run elsewhere: the two share nothing but origin and the DVC remote.
    data = []
    reported = stages.run_stage(
        Origin(str(origin.path)),
        doubled,
        "report",
        branch="run/one",
        home=spaces,
        report=lambda *both: data.append(both),
    )
    [(inputs, outputs)] = data
    assert inputs == Lock.load(origin, reported).data_of("double")[1]
    assert outputs == {"report.json": hashlib.md5(b'{"number": 42}', usedforsecurity=False).hexdigest()}

    assert origin.read(reported, "report.json") == b'{"number": 42}'
    assert origin.resolve("run/one") == reported
    assert origin.resolve(f"{reported}~1") == doubled
    assert origin.resolve("main") == start
    for commit, stage in ((doubled, "double"), (reported, "report")):
        subject = origin.commit_info(commit).subject
        assert re.fullmatch(rf"{stage}: run for run/one in [0-9]+\.[0-9] s", subject)
        assert runs.step(subject) is not None
    # The last commit has the cost of both, and only this run has it.
    spent = Cost.of(origin.commit_info(reported).cost, "run/one")
    assert spent is not None
    assert [*spent.stages] == ["double", "report"]
    assert Cost.of(origin.commit_info(doubled).cost) == spent.model_copy(
        update={"stages": {"double": spent.stages["double"]}}
    )
    assert Cost.of(origin.commit_info(reported).cost, "run/two") is None
    double, report = spent.stages.values()
    assert (double.written_bytes, report.read_bytes, report.written_bytes) == (3, 3, 14)
    for stage in (double, report):
        assert 0.1 < stage.cpu_seconds < 100
        assert 10**7 < stage.peak_bytes < 10**10
        assert stage.gpu_seconds is None
    assert [path for path in dvc_remote.rglob("*") if path.is_file()], "the outputs are on the DVC remote"
    assert [entry.name for entry in spaces.iterdir()] == [".sweep"]


def test_the_processors_and_the_memory_of_a_stage_are_measured(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Repository.clone(str(origin.path), tmp_path / "user")
    work = "import time\nheld = bytearray(600_000_000)\nwhile time.process_time() < 3:\n    pass"
    (checkout.path / "src/report.py").write_text(f"{work}\nopen('report.json', 'w').write('{{}}')\n")
    checkout.git("commit", "--quiet", "--all", "--message=Work", env=checkout.identity())
    checkout.push("origin", {"refs/heads/main": checkout.resolve("HEAD")})
    doubled = run(origin, origin.resolve("main"), "double", tmp_path / "spaces")
    devices = tmp_path / "dev"
    devices.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (devices / name).touch()
    monkeypatch.setattr(stages, "_DEVICES", devices)
    worked = run(origin, doubled, "report", tmp_path / "spaces")
    spent = Cost.of(origin.commit_info(worked).cost)
    assert spent is not None
    double, report = spent.stages.values()
    assert double.gpu_seconds is None
    assert report.cpu_seconds > 3
    assert report.peak_bytes > 600_000_000
    assert report.gpu_seconds == pytest.approx(2 * report.seconds, abs=0.11)


@pytest.mark.parametrize(("chosen", "count"), [(None, 2), ("", 0), ("-1", 0), ("0", 1), ("0,1,2", 2)])
def test_a_stage_is_charged_for_the_gpus_that_it_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, count: int
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    monkeypatch.setattr(stages, "_DEVICES", tmp_path)
    if chosen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert stages.gpus_seen() == count


def test_a_retry_starts_from_the_same_commit_and_replaces_the_first_try(
    origin: Repository, tmp_path: Path
) -> None:
    doubled = run(origin, origin.resolve("main"), "double", tmp_path / "spaces")
    first = run(origin, doubled, "report", tmp_path / "spaces")
    second = run(origin, doubled, "report", tmp_path / "spaces")
    assert origin.resolve("run/one") == second
    assert origin.tree_id(first, "dvc.lock") == origin.tree_id(second, "dvc.lock")
    assert origin.resolve(f"{second}~1") == doubled


def test_what_dvc_tracks_in_a_folder_that_a_stage_reads_is_fetched(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    checkout = Repository.clone(str(origin.path), tmp_path / "user")
    pipeline = """\
stages:
  count:
    cmd: ls in > n.txt
    deps: [in]
    outs: [n.txt]
  other:
    cmd: python -c "open('other.txt', 'w').write('1')"
    outs: [other.txt]
"""
    (checkout.path / "dvc.yaml").write_text(pipeline)
    (checkout.path / "in").mkdir()
    (checkout.path / "in/.gitignore").write_text("*.txt\n")
    (checkout.path / "in/a.txt").write_text("a")
    subprocess.run(["dvc", "add", "--quiet", "in/a.txt"], cwd=checkout.path, check=True, timeout=60)
    checkout.git("add", "--all")
    checkout.git("commit", "--quiet", "--message=Batch", env=checkout.identity())
    checkout.push("origin", {"refs/heads/main": checkout.resolve("HEAD")})
    commit = origin.resolve("main")

    with pytest.raises(StepError, match=r"dvc pull in/a\.txt\.dvc: exit status"):
        run(origin, commit, "count", tmp_path / "spaces")
    # What is not on the DVC remote stops only those stages that read it
    assert run(origin, commit, "other", tmp_path / "spaces") != commit

    subprocess.run(["dvc", "push", "--quiet"], cwd=checkout.path, check=True, timeout=60)
    counted = run(origin, commit, "count", tmp_path / "spaces")
    assert run(origin, counted, "count", tmp_path / "spaces") == counted
    assert "a.txt" not in origin.git("ls-tree", "-r", "--name-only", counted).split("\n")
    fetched = tmp_path / "fetched"
    Repository.clone(str(origin.path), fetched)
    Repository(fetched).git("checkout", "--quiet", counted)
    subprocess.run(["dvc", "pull", "--quiet", "n.txt"], cwd=fetched, check=True, timeout=60)
    assert (fetched / "n.txt").read_text().split() == ["a.txt", "a.txt.dvc"]


def test_what_changed_at_the_start_of_a_chain_reaches_its_end(origin: Repository, tmp_path: Path) -> None:
    spaces = tmp_path / "spaces"
    first = run(origin, run(origin, origin.resolve("main"), "double", spaces), "report", spaces)
    changed = origin.commit_files(first, {"number.txt": b"5\n"}, "Another number")
    origin.git("update-ref", "refs/heads/main", changed)
    reported = run(origin, run(origin, changed, "double", spaces), "report", spaces)
    assert origin.read(reported, "report.json") == b'{"number": 10}'


def test_a_stage_that_lost_an_input_runs_again(origin: Repository, tmp_path: Path) -> None:
    """DVC itself takes it for unchanged, and its record would keep an input that it does not have."""
    more = PIPELINE.replace("deps: [number.txt]", "deps: [number.txt, src/report.py]")
    start = origin.commit_files(origin.resolve("main"), {"dvc.yaml": more.encode()}, "More")
    origin.git("update-ref", "refs/heads/more", start)
    doubled = run(origin, start, "double", tmp_path / "spaces")
    fewer = origin.commit_files(doubled, {"dvc.yaml": PIPELINE.encode()}, "Fewer")
    origin.git("update-ref", "refs/heads/fewer", fewer)
    again = run(origin, fewer, "double", tmp_path / "spaces")
    assert "src/report.py" not in (origin.read(again, "dvc.lock") or b"").decode()
    assert run(origin, again, "double", tmp_path / "spaces") == again


def test_a_stage_with_nothing_to_do_returns_its_input(origin: Repository, tmp_path: Path) -> None:
    doubled = run(origin, origin.resolve("main"), "double", tmp_path / "spaces")
    assert run(origin, doubled, "double", tmp_path / "spaces") == doubled


def test_a_failing_stage_names_itself_and_pushes_nothing(origin: Repository, tmp_path: Path) -> None:
    unlucky = origin.commit_files(origin.resolve("main"), {"number.txt": b"13\n"}, "Unlucky")
    origin.git("update-ref", "refs/heads/unlucky", unlucky)
    doubled = run(origin, unlucky, "double", tmp_path / "spaces")
    with pytest.raises(
        StepError, match=r"dvc repro --pull --single-item report: exit status \d+: 26: unlucky$"
    ):
        run(origin, doubled, "report", tmp_path / "spaces")
    assert origin.resolve("run/one") == doubled
    assert [entry.name for entry in (tmp_path / "spaces").iterdir()] == [".sweep"]


def test_a_stage_that_fails_without_a_word_is_named(origin: Repository, tmp_path: Path) -> None:
    pipeline = b"stages:\n  mute:\n    cmd: exit 3\n"
    mute = origin.commit_files(origin.resolve("main"), {"dvc.yaml": pipeline}, "Mute")
    origin.git("update-ref", "refs/heads/mute", mute)
    with pytest.raises(StepError, match=r"failed to reproduce 'mute': failed to run: exit 3"):
        run(origin, mute, "mute", tmp_path / "spaces")


def test_a_command_is_a_step_too(origin: Repository, tmp_path: Path) -> None:
    start = origin.resolve("main")
    command = ["python", "-c", "open('number.txt', 'w').write('4')"]
    place = Origin(str(origin.path))
    changed = stages.run_command(
        place, start, command, branch="run/two", home=tmp_path / "spaces", message="Four"
    )
    assert origin.read(changed, "number.txt") == b"4"
    assert origin.resolve("run/two") == changed


READ = "from pathlib import Path; Path('out.json').write_text({})"


def result_of(origin: Repository, home: Path, program: str, commit: str = "main", **given: str) -> object:
    return stages.run_for_result(
        Origin(str(origin.path)),
        origin.resolve(commit),
        ["python", "-c", program],
        home=home,
        result="out.json",
        given={f"new/{name}": text for name, text in given.items()},
    )


def test_a_command_may_have_a_result_instead_of_a_commit(origin: Repository, tmp_path: Path) -> None:
    before = origin.git("for-each-ref")
    found = result_of(origin, tmp_path / "spaces", READ.format("Path('new/a').read_text()"), a='{"x": [1.5]}')
    assert isinstance(found, dict)
    cost = StageCost.model_validate(found.pop("cost"))
    assert 0.01 < cost.cpu_seconds < 100
    assert found == {"x": [1.5]}
    assert result_of(origin, tmp_path / "spaces", READ.format("'{}'")) == {}
    assert origin.git("for-each-ref") == before


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("pass", "No such file"),
        (READ.format("'NaN'"), "NaN is not a number of JSON"),
        (READ.format("'1' * 100000"), "larger than 65,536 bytes"),
        ("import os; os.symlink('dvc.yaml', 'out.json')", "not a regular file"),
    ],
)
def test_a_result_that_cannot_be_read_is_one_line(
    origin: Repository, tmp_path: Path, program: str, reason: str
) -> None:
    with pytest.raises(StepError, match=rf"out\.json: cannot be read: .*{reason}") as caught:
        result_of(origin, tmp_path / "spaces", program)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["100644", "120000"])
def test_a_file_that_is_given_replaces_none_and_leaves_no_checkout(
    origin: Repository, tmp_path: Path, mode: str
) -> None:
    """A commit has such a file, or a link in the place of its folder."""
    path = "new/a" if mode == "100644" else "new"
    blob = origin.git("hash-object", "-w", "--stdin", input=str(tmp_path))
    index = {"GIT_INDEX_FILE": str(tmp_path / "index")}
    origin.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}", env=index)
    tree = origin.git("write-tree", env=index)
    commit = origin.git("commit-tree", tree, "-m", "Be in the way", env=origin.identity())
    origin.git("update-ref", "refs/heads/main", commit)
    with pytest.raises(StepError, match="new/a: in the way in "):
        result_of(origin, tmp_path / "spaces", "pass", a="text")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ('[{"cost": COST, "x": [1]}, {}, {"x": 1}, {"cost": COST}]', 5.0),
        ("[{}]", None),
        ('[{"cost": COST}, {"cost": {"cpu_seconds": -1}}]', None),
        ("4", None),
        ("[", None),
    ],
)
def test_work_that_tasks_did_for_a_stage_is_in_the_cost_of_the_run(
    origin: Repository, tmp_path: Path, given: str, seconds: float | None
) -> None:
    cost = '{"seconds": 3.0, "cpu_seconds": 2.5, "peak_bytes": 7, "read_bytes": 9, "written_bytes": 0}'
    done = stages.run_stage(
        Origin(str(origin.path)),
        origin.resolve("main"),
        "double",
        branch="run/one",
        home=tmp_path / "spaces",
        given={"given.txt": given.replace("COST", cost)},
    )
    spent = Cost.of(origin.commit_info(done).cost)
    assert spent is not None
    tasks = spent.stages.get("double-tasks")
    assert (tasks and tasks.cpu_seconds) == seconds
    assert tasks is None or (tasks.seconds, tasks.peak_bytes, tasks.read_bytes) == (6.0, 7, 18)


def test_a_file_that_is_given_to_a_stage_is_not_committed(origin: Repository, tmp_path: Path) -> None:
    pipeline = PIPELINE.replace("open('number.txt')", "open('given.txt')")
    commit = origin.commit_files(origin.resolve("main"), {"dvc.yaml": pipeline.encode()}, "Read another file")
    origin.git("update-ref", "refs/heads/main", commit)
    done = stages.run_stage(
        Origin(str(origin.path)),
        commit,
        "double",
        branch="run/one",
        home=tmp_path / "spaces",
        given={"given.txt": "4"},
    )
    assert list(origin.changed(commit, done)) == [".gitignore", "dvc.lock"]
    assert hashlib.md5(b"8\n", usedforsecurity=False).hexdigest() in str(origin.read(done, "dvc.lock"))


def test_the_data_that_a_command_makes_goes_to_the_dvc_remote(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    command = ["sh", "-c", "echo batch > batch.txt && dvc add --quiet batch.txt"]
    changed = stages.run_command(
        Origin(str(origin.path)),
        origin.resolve("main"),
        command,
        branch="run/two",
        home=tmp_path / "spaces",
        message="Batch",
        data=["batch.txt.dvc"],
    )
    assert origin.read(changed, "batch.txt.dvc") is not None
    assert [path.read_text() for path in dvc_remote.rglob("*") if path.is_file()] == ["batch\n"]


def test_what_the_dvc_remote_has_is_pulled_into_the_cache(
    origin: Repository, tmp_path: Path, isolated_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    config = isolated_home / "dvc" / "config"
    place, spaces = Origin(str(origin.path)), tmp_path / "spaces"
    start = origin.resolve("main")
    with caplog.at_level("INFO"):
        assert stages.pull(place, start, ["double"], home=spaces) == start
    assert "Nothing to pull" in caplog.text
    doubled = run(origin, start, "double", spaces)

    config.write_text(config.read_text() + f"[cache]\ndir = {cache}\n")
    assert stages.pull(place, doubled, ["double", "report"], home=spaces) == doubled
    assert [path.read_text() for path in cache.rglob("*") if path.is_file()] == ["42\n"]


def test_what_the_dvc_remote_lost_is_pushed_again(
    origin: Repository, dvc_remote: Path, tmp_path: Path, isolated_home: Path
) -> None:
    config = isolated_home / "dvc" / "config"
    config.write_text(config.read_text() + f"[cache]\ndir = {tmp_path / 'cache'}\n")
    doubled = run(origin, origin.resolve("main"), "double", tmp_path / "spaces")
    [kept] = [path for path in dvc_remote.rglob("*") if path.is_file()]
    kept.unlink()
    stages.push(Origin(str(origin.path)), doubled, ["double"], home=tmp_path / "spaces")
    assert kept.read_text() == "42\n"


def test_what_is_neither_here_nor_on_the_dvc_remote_is_named(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    place, spaces = Origin(str(origin.path)), tmp_path / "spaces"
    doubled = run(origin, origin.resolve("main"), "double", spaces)
    assert stages.push(place, doubled, ["double"], home=spaces) == doubled
    for path in dvc_remote.rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(StepError, match=r"DVC remote: lacks double\.txt of .*clear the task"):
        stages.push(place, doubled, ["double"], home=spaces)


def test_the_code_that_runs_is_the_commits_own(origin: Repository, tmp_path: Path) -> None:
    changed = REPORT.replace('"number": number', '"number": -number').encode()
    commit = origin.commit_files(origin.resolve("main"), {"src/report.py": changed}, "Negate")
    origin.git("update-ref", "refs/heads/negate", commit)
    reported = run(origin, run(origin, commit, "double", tmp_path / "s"), "report", tmp_path / "s")
    assert origin.read(reported, "report.json") == b'{"number": -42}'


def test_a_command_that_takes_too_long_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)\n"
        "open('started', 'w').close()\n"
        "signal.pause()\n"
    )
    with pytest.raises(StepError, match="took longer than 0:00:05"):
        dvc_run.call(["python", "-c", script], tmp_path, timedelta(seconds=5))
    assert (tmp_path / "started").exists()
    wait_for(lambda: not working_in(tmp_path))


def test_a_command_that_changes_the_git_of_its_checkout_leaves_nothing(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing hides it: git would execute the command at the push, with the key of the environment."""
    monkeypatch.setattr(isolation, "namespaces", lambda: False)
    mark = tmp_path / "ran"
    command = ["git", "config", "core.sshCommand", f"touch {mark};"]
    with pytest.raises(StepError, match="changed the configuration of git in its checkout"):
        stages.run_command(
            Origin(str(origin.path)),
            origin.resolve("main"),
            command,
            branch="run/two",
            home=tmp_path / "spaces",
            message="Batch",
        )
    assert not mark.exists()
    assert "refs/heads/run/two" not in origin.git("for-each-ref")


def test_a_stage_does_not_have_a_file_pushed_that_it_cannot_read(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    """DVC follows links, and has more rights than the stage."""
    secret = tmp_path / "key"
    secret.write_text("s3cret")
    pipeline = f"stages:\n  take:\n    cmd: ln -s {secret} taken.txt\n    outs: [taken.txt]\n"
    commit = origin.commit_files(origin.resolve("main"), {"dvc.yaml": pipeline.encode()}, "Take")
    origin.git("update-ref", "refs/heads/take", commit)
    with pytest.raises(StepError, match=r"made the link taken\.txt, which leads out of its folder"):
        run(origin, commit, "take", tmp_path / "spaces")
    assert [path for path in dvc_remote.rglob("*") if path.is_file()] == []


def test_dvc_imports_nothing_of_the_checkout(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the keys of the remote, and Python looks beside a program and in PYTHONPATH first."""
    mark = tmp_path / "ran"
    evil = f"open({str(mark)!r}, 'w').close()\n".encode()
    files = {"src/dvc.py": evil, "dvc.py": evil, "src/json.py": evil, "json.py": evil}
    commit = origin.commit_files(origin.resolve("main"), files, "Shadow")
    origin.git("update-ref", "refs/heads/shadow", commit)
    monkeypatch.setenv("PYTHONPATH", "src:.")
    doubled = run(origin, commit, "double", tmp_path / "spaces")
    place = Origin(str(origin.path))
    assert stages.push(place, doubled, ["double"], home=tmp_path / "spaces") == doubled
    with workspace(place, doubled, tmp_path / "spaces") as space:
        assert dvc_run.storage_problem(space.path) == ""
    assert not mark.exists()


def test_of_several_dvc_commands_the_first_that_fails_is_named_and_the_last(
    origin: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkout = Repository.clone(str(origin.path), tmp_path / "user").path
    caplog.set_level("INFO")
    with pytest.raises(StepError, match=r"^dvc repro no-such-stage: exit status 255: ERROR: ") as raised:
        stages.call_dvc(
            [["repro", "double"], ["repro", "no-such-stage"], ["push"]], checkout, timedelta(minutes=1)
        )
    assert raised.value.command == "dvc repro no-such-stage"
    assert (checkout / "double.txt").read_text() == "42\n"
    said = [line for line in caplog.messages if line.startswith("$ ")]
    assert said == ["$ dvc repro double", "$ dvc repro no-such-stage"]


TEMPLATED = """\
vars:
  - shipped: models/model.bin
stages:
  export:
    wdir: models
    cmd: cat ../number.txt ../number.txt > model.bin
    deps: [../number.txt]
    outs: [model.bin]
  evaluate:
    cmd: wc -c < ${shipped} > figures.json
    deps: ["${shipped}"]
    outs:
      - figures.json: {cache: false}
"""


def test_variables_and_folders_in_a_pipeline_are_what_dvc_takes_them_for(
    origin: Repository, tmp_path: Path
) -> None:
    files: dict[str, bytes | None] = {"dvc.yaml": TEMPLATED.encode(), "models/.gitignore": b"/model.bin\n"}
    commit = origin.commit_files(origin.resolve("main"), files, "Templated")
    found = []
    for number in (b"1\n", b"12345\n"):
        commit = origin.commit_files(commit, {"number.txt": number}, "Another number")
        for stage in ("export", "evaluate"):
            origin.git("update-ref", "refs/heads/start", commit)
            commit = run(origin, commit, stage, tmp_path / "spaces")
        found.append(int(origin.read(commit, "figures.json") or b"0"))
    # The second is of the new input: another machine has nothing of the first.
    assert found == [4, 12]
    pushed = stages.push(Origin(str(origin.path)), commit, ["export"], home=tmp_path / "spaces")
    assert pushed == commit


LOOPS = """\
vars:
  - sizes: [3, 5]
stages:
  fit:
    matrix:
      size: ${sizes}
      kind: [a, b]
    wdir: src
    cmd: echo ${item.size} ${item.kind} $(cat ../number.txt) > ../fit-${key}.txt
    deps: [../number.txt]
    outs: ["../fit-${key}.txt"]
  choose:
    cmd: cat fit-*.txt > chosen.txt
    deps: [fit-3-a.txt, fit-3-b.txt, fit-5-a.txt, fit-5-b.txt]
    outs:
      - chosen.txt: {cache: false}
"""


def test_a_loop_runs_under_its_name_and_each_of_its_stages_under_its_own(
    origin: Repository, tmp_path: Path
) -> None:
    files: dict[str, bytes | None] = {"dvc.yaml": LOOPS.encode(), ".gitignore": b"/fit-*\n"}
    commit = origin.commit_files(origin.resolve("main"), files, "Loops")
    origin.git("update-ref", "refs/heads/start", commit)
    alone = run(origin, commit, "fit@3-b", tmp_path / "spaces")
    recorded = provenance.pipeline(origin, alone)
    assert [name for name, step in recorded.items() if step.recorded] == ["fit@3-b"]
    fitted = run(origin, alone, "fit", tmp_path / "spaces")
    assert run(origin, fitted, "fit", tmp_path / "spaces") == fitted
    chosen = run(origin, fitted, "choose", tmp_path / "spaces")
    assert origin.read(chosen, "chosen.txt") == b"3 a 21\n3 b 21\n5 a 21\n5 b 21\n"
    place = Origin(str(origin.path))
    assert stages.push(place, chosen, ["fit", "choose"], home=tmp_path / "spaces") == chosen
    assert stages.pull(place, chosen, ["fit", "choose"], home=tmp_path / "spaces") == chosen


def test_a_pipeline_that_dvc_cannot_read_is_one_line(origin: Repository, tmp_path: Path) -> None:
    commit = origin.commit_files(origin.resolve("main"), {"dvc.yaml": b"stages: ["}, "Broken")
    origin.git("update-ref", "refs/heads/broken", commit)
    with pytest.raises(StepError, match=r"^dvc\.yaml[^\n]*: [^\n]*structure is corrupted[^\n]*$"):
        run(origin, commit, "double", tmp_path / "spaces")
    with pytest.raises(StepError, match="has no stage nothing"):
        run(origin, origin.resolve("main"), "nothing", tmp_path / "spaces")


def test_a_folder_on_the_dvc_remote_brings_nothing_beside_itself(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    def keep(content: bytes, kind: str = "") -> str:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        path = dvc_remote / "files/md5" / digest[:2] / (digest[2:] + kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return digest + kind

    code = keep(b"raise SystemExit('a stranger')\n")
    folder = keep(json.dumps([{"md5": code, "relpath": "../../src/report.py"}]).encode(), ".dir")
    pointer = f"outs:\n- md5: {folder}\n  hash: md5\n  path: batch\n"
    commit = origin.commit_files(origin.resolve("main"), {"data/batch.dvc": pointer.encode()}, "Batch")
    origin.git("update-ref", "refs/heads/batch", commit)
    with workspace(Origin(str(origin.path)), commit, tmp_path / "spaces") as space:
        with pytest.raises(StepError, match=r"leads out of its folder: '\.\./\.\./src/report\.py'"):
            dvc_run.call(["dvc", "pull", "data/batch.dvc"], space.path, timedelta(minutes=1))
        assert (space.path / "src/report.py").read_text() == REPORT


# For printf
ELSEWHERE = r'[core]\n  remote = elsewhere\n[\47remote "elsewhere"\47]\n  url = {0}\n'


@pytest.mark.skipif(not isolation.namespaces(), reason="no user namespaces are permitted here")
@pytest.mark.parametrize(
    "command",
    [
        "printf '{config}' > .dvc/config.local",
        "mv .dvc .dvc-old && mkdir .dvc && printf '{config}' > .dvc/config",
    ],
    ids=["config.local", "another folder"],
)
def test_a_stage_does_not_choose_the_storage_of_its_outputs(
    origin: Repository, tmp_path: Path, dvc_remote: Path, command: str
) -> None:
    """DVC shows its keys to that storage, or executes the program that gives them."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    planted = command.replace("{config}", ELSEWHERE.format(elsewhere))
    pipeline = "stages:\n  make:\n    cmd: sh src/make.sh\n    outs: [made.txt]\n"
    script = f"({planted}) 2>/dev/null; echo 1 > made.txt"
    files: dict[str, bytes | None] = {"dvc.yaml": pipeline.encode(), "src/make.sh": script.encode()}
    commit = origin.commit_files(origin.resolve("main"), files, "Make")
    origin.git("update-ref", "refs/heads/make", commit)
    run(origin, commit, "make", tmp_path / "spaces")
    assert list(elsewhere.iterdir()) == []
    assert [path.read_text() for path in dvc_remote.rglob("*") if path.is_file()] == ["1\n"]


@pytest.mark.parametrize("stage", [True, False], ids=["stage", "command"])
def test_without_namespaces_nothing_is_kept_of_a_stage_that_configures_dvc(
    origin: Repository, tmp_path: Path, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch, stage: bool
) -> None:
    monkeypatch.setattr(isolation, "namespaces", lambda: False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = f"printf '{ELSEWHERE.format(elsewhere)}' > .dvc/config.local; echo 1 > made.txt"
    pipeline = "stages:\n  make:\n    cmd: sh src/make.sh\n    outs: [made.txt]\n"
    files: dict[str, bytes | None] = {"dvc.yaml": pipeline.encode(), "src/make.sh": script.encode()}
    commit = origin.commit_files(origin.resolve("main"), files, "Make")
    origin.git("update-ref", "refs/heads/make", commit)

    def start() -> object:
        if stage:
            return run(origin, commit, "make", tmp_path / "spaces")
        place, command = tmp_path / "spaces", ["sh", "src/make.sh"]
        at = Origin(str(origin.path))
        return stages.run_command(at, commit, command, branch="run/two", home=place, message="Make")

    with pytest.raises(StepError, match="changed the configuration of DVC in its checkout; nothing is kept"):
        start()
    assert list(elsewhere.iterdir()) == list(dvc_remote.iterdir()) == []


def test_git_executes_nothing_of_a_repository_that_a_stage_makes(origin: Repository, tmp_path: Path) -> None:
    """Git asks a repository in its checkout for its state, and executes the filters that it configures."""
    mark = tmp_path / "ran"
    script = f"""
        mkdir inner && cd inner && git init -q && echo '* filter=x' > .gitattributes && echo 1 > a &&
        git add -A && git -c user.name=x -c user.email=x commit -qm x &&
        git config filter.x.clean 'touch {mark}; cat' && echo 2 > a
    """
    with pytest.raises(StepError, match=r"inner/\.git: a repository in the checkout; nothing is committed"):
        stages.run_command(
            Origin(str(origin.path)),
            origin.resolve("main"),
            ["sh", "-c", script],
            branch="run/two",
            home=tmp_path / "spaces",
            message="Batch",
        )
    assert not mark.exists()


@pytest.mark.parametrize("content", ["[core\nremote = x\n", "[mine]\nx = 1\n"])
def test_the_files_of_a_configuration_that_dvc_cannot_read_are_named(
    origin: Repository, isolated_home: Path, tmp_path: Path, content: str
) -> None:
    file = isolated_home / "dvc/config"
    file.write_text(content)
    with pytest.raises(
        StepError, match=rf"config file error: .*; DVC reads \.dvc/config, .* and {file}: corr"
    ):
        run(origin, origin.resolve("main"), "double", tmp_path / "spaces")


PARTS = """\
stages:
  export:
    cmd: mkdir -p made && cat number.txt > made/a.txt && echo same > made/b.txt
    deps: [number.txt]
    outs: [made]
  evaluate:
    cmd: cat made/a.txt given/c.txt > figures.json
    deps: [made/a.txt, given/c.txt]
    outs:
      - figures.json: {cache: false}
  count:
    cmd: ls given > count.json
    deps: [given]
    outs:
      - count.json: {cache: false}
"""


def test_a_part_of_a_folder_that_dvc_keeps_is_an_input_like_any_other(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    checkout = Repository.clone(str(origin.path), tmp_path / "user")
    (checkout.path / "dvc.yaml").write_text(PARTS)
    found = []
    for number in ("1\n", "2\n"):
        (checkout.path / "number.txt").write_text(number)
        (checkout.path / "given").mkdir(exist_ok=True)
        (checkout.path / "given/c.txt").write_text(f"given {number}")
        (checkout.path / f"given/{number.strip()}").touch()
        subprocess.run(["dvc", "add", "--quiet", "given"], cwd=checkout.path, check=True, timeout=60)
        subprocess.run(["dvc", "push", "--quiet"], cwd=checkout.path, check=True, timeout=60)
        checkout.git("add", "--all")
        checkout.git("commit", "--quiet", "--message=Given", env=checkout.identity())
        commit = checkout.resolve("HEAD")
        origin.git("fetch", "--quiet", str(checkout.path), f"+{commit}:refs/heads/main")
        for stage in ("export", "evaluate", "count"):
            commit = run(origin, commit, stage, tmp_path / "spaces")
        found.append([origin.read(commit, name) for name in ("figures.json", "count.json")])
        checkout.fetch("origin")
        checkout.git("reset", "--quiet", "--hard", commit)
    assert found == [[b"1\ngiven 1\n", b"1\nc.txt\n"], [b"2\ngiven 2\n", b"1\n2\nc.txt\n"]]
