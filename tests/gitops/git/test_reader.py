"""One process of git answers all questions of a task, and as one process for each would."""

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from gitops.git.repository import Repository
from tests.support.lab import Lab


def _readers(repository: Repository) -> list[psutil.Process]:
    # Linux shows the arguments of a new process a moment after its start, and surely once it has answered
    assert repository.has("main")
    return [one for one in psutil.Process().children() if "--batch-command" in one.cmdline()]


def test_the_answers_are_the_same(lab: Lab) -> None:
    large = lab.land({"large": os.urandom(3_000_000), "empty": b"", "line": b"a\nb\n"})
    names = [
        f"{large}:large",
        f"{large}:empty",
        f"{large}:dags",
        "nothing",
        "",
        large,
        large[:7],
        "HEAD",
        f"{large}:line",
    ]
    names += [f"{large}:params.yaml"] * 3000
    files = [(large, "large"), (large, "empty"), (large, "missing"), (large, "line"), ("0" * 40, "x")]

    def ask() -> tuple[object, ...]:
        repository = Repository(lab.origin.path)
        return (
            repository.objects(names),
            repository.read_all(files),
            repository.read_all(files, 100),
            repository.describe([large]),
            [repository.has(name) for name in (large, "nothing", f"{large}:dags", "main")],
        )

    alone = ask()
    kept = Repository(lab.origin.path)
    with kept.reading():
        together = (
            kept.objects(names),
            kept.read_all(files),
            kept.read_all(files, 100),
            kept.describe([large]),
            [kept.has(name) for name in (large, "nothing", f"{large}:dags", "main")],
        )
    assert together == alone


def test_it_ends_with_the_task_and_sees_what_comes_meanwhile(lab: Lab) -> None:
    repository = Repository(lab.origin.path)
    with repository.reading(), repository.reading():
        assert len(_readers(repository)) == 1
        before = repository.object_ids(["main"])
        new = lab.land({"new": b"1"})
        assert before != [new]
        assert repository.object_ids(["main"]) == [new]
        repository.git("gc", "--quiet")
        assert repository.read(new, "new") == b"1"
        assert len(_readers(repository)) == 1
    assert _readers(repository) == []


def test_a_process_that_ended_is_no_matter(lab: Lab) -> None:
    repository = Repository(lab.origin.path)
    with repository.reading():
        (reader,) = _readers(repository)
        os.kill(reader.pid, signal.SIGKILL)
        reader.wait(10)
        assert repository.object_ids(["main"]) == [lab.tip]
        assert repository.has("main")


def test_another_thread_has_no_part_in_it(lab: Lab) -> None:
    repository, answers = Repository(lab.origin.path), list[object]()
    with repository.reading():
        (reader,) = _readers(repository)
        reader.suspend()
        thread = threading.Thread(target=lambda: answers.append(repository.object_ids(["main"])))
        thread.start()
        thread.join(30)
        reader.resume()
        assert repository.object_ids(["main"]) == answers[0] == [lab.tip]


def test_where_there_is_no_repository_the_command_fails_as_ever(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        repository = Repository(folder)
        with repository.reading(), pytest.raises(Exception, match=f"in {folder}"):
            repository.objects(["main"])
