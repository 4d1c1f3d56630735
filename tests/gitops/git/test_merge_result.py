"""What is merged is what was judged, with branches that git itself would not make."""

from typing import Any

import pytest

from gitops.errors import RuleError
from gitops.git.merge_result import merge_result
from gitops.git.repository import Repository
from gitops.promotion.merge import check, merge
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from tests.gitops import poison
from tests.support.figures import model_files
from tests.support.lab import Lab


def said(lab: Lab, head: str) -> str:
    """Return what stands against a branch; `merge` says the same and pushes nothing."""
    lines = "\n".join(
        map(
            str,
            check(lab.clone, lab.state(), lab.clone.resolve(lab.clone.branch_ref(lab.remote, head))).findings,
        )
    )
    before = lab.tip
    with pytest.raises(RuleError) as caught:
        lab.merge(head)
    assert str(caught.value) == lines
    assert lab.tip == before
    return lines


def point(lab: Lab, branch: str, commit: str) -> None:
    lab.origin.git("update-ref", f"refs/heads/{branch}", commit)


def tree(repository: Repository, rows: list[str]) -> str:
    return repository.git("mktree", "--missing", "-z", input="\0".join([*rows, ""]))


def rows(repository: Repository, name: str) -> list[str]:
    return [row for row in repository.git("ls-tree", "-z", name).split("\0") if row]


def twice(lab: Lab, folder: str, name: str, other: str) -> str:
    """Return a commit on main whose `folder` has a second entry `name`: that of the commit `other`."""
    path = f"{folder}/{name}" if folder else name
    second = next(row for row in rows(lab.origin, f"{other}:{folder}") if row.endswith(f"\t{name}"))
    found: list[str] = []
    for row in rows(lab.origin, f"{lab.tip}:{folder}"):
        found += [row, second] if row.endswith(f"\t{name}") else [row]
    made = tree(lab.origin, found)
    while folder:
        folder, _, name = folder.rpartition("/")
        found = rows(lab.origin, f"{lab.tip}:{folder}")
        made = tree(
            lab.origin, [f"040000 tree {made}\t{name}" if r.endswith(f"\t{name}") else r for r in found]
        )
    assert path
    return lab.origin.commit_tree(made, [lab.tip], "Harmless")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("", "environments"),
        ("environments", "prod"),
        ("environments/prod", "release.yaml"),
        ("", "README.md"),
    ],
)
def test_two_entries_of_one_name_are_refused(lab: Lab, folder: str, name: str) -> None:
    bad = lab.train("a", 0.2, profile="small")
    other = lab.commit({"environments/prod/release.yaml": f"commit: {bad}\n".encode(), "README.md": b"two\n"})
    point(lab, "dup", twice(lab, folder, name, other))
    assert said(lab, "dup").startswith("history: git fsck: ")
    assert "duplicateEntries" in said(lab, "dup")


def test_two_entries_behind_an_honest_commit_are_refused(lab: Lab) -> None:
    """The branch repairs its tip; the object stays part of what is fetched."""
    other = lab.commit({"README.md": b"two\n"})
    broken = twice(lab, "", "README.md", other)
    point(lab, "dup", lab.origin.commit_tree(f"{lab.tip}^{{tree}}", [broken], "Repaired"))
    assert "duplicateEntries" in said(lab, "dup")


def test_two_entries_that_main_has_are_gone_after_a_merge(lab: Lab) -> None:
    other = lab.commit({"README.md": b"two\n"})
    point(lab, "main", twice(lab, "", "README.md", other))
    lab.branch("feature", {"new": b"x"}, on=other)
    lab.merge("feature")
    assert lab.origin.files("main").count("README.md") == 1


def _crisscross(lab: Lab, old: str, path: str) -> None:
    """Merge old main into a branch that keeps the file as it was, so that two commits are merge bases."""
    lab.branch("harmless", {"README.md": b"harmless\n"}, on=old)
    lab.merge("harmless")
    harmless = lab.clone.resolve(lab.clone.branch_ref(lab.remote, "harmless"))
    former = lab.origin.git("rev-parse", f"{lab.tip}^1")
    kept = lab.origin.read(harmless, path)
    second = lab.origin.commit_files(former, {path: kept, "README.md": b"harmless\n", "note": b"x"}, "Work")
    point(lab, "second", lab.origin.commit_tree(f"{second}^{{tree}}", [harmless, former], "Merge main"))
    assert len(lab.origin.merge_bases(lab.tip, "second")) > 1


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("environments/prod/release.yaml", None),
        ("environments/prod/settings.env", b"REQUIRE_SIGNED_RELEASES=false"),
        ("SECURITY.md", b"less"),
    ],
)
def test_a_second_merge_base_brings_nothing_back(lab: Lab, path: str, content: bytes | None) -> None:
    releases = []
    for name in "ab":
        releases.append(lab.train(name))
        for environment in ("staging", "prod"):
            lab.release(environment)
    before = (lab.origin.read("main", path) or b"") + b"\n# " + (content or b"")
    lab.land({path: before})
    old = lab.tip
    if content is None:
        state = lab.state()
        push(lab.clone, lab.remote, rollback(lab.clone, state, "prod", lab.remote))
        lab.merge("rollback/prod")
    else:
        lab.land({path: before + b"\n# stricter"})
    now = lab.origin.read("main", path)
    _crisscross(lab, old, path)
    assert "this branch left main at 2 commits" in said(lab, "second")
    assert lab.origin.read("main", path) == now


def test_the_merge_is_judged_and_not_the_branch(lab: Lab) -> None:
    """The branch has good figures by itself; what main would have is the other branch's lock with them."""
    lab.train("a")
    start = lab.tip
    lab.branch("figures", {"metrics/evaluation.json": model_files("b")["metrics/evaluation.json"]}, on=start)
    lab.land({"metrics/export.json": model_files("c")["metrics/export.json"]})
    assert "ONNX file unchanged since evaluation" in said(lab, "figures")


def test_what_is_pushed_is_the_judged_commit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from gitops.promotion import merge as module

    judged = []
    real = module.judge
    monkeypatch.setattr(
        module, "judge", lambda state, result, *more: judged.append(result) or real(state, result, *more)
    )
    head = lab.branch("feature", {"new": b"x"})
    lab.land({"README.md": b"news\n"})
    before = lab.tip
    assert merge(lab.clone, lab.remote, "feature").commit == lab.tip == judged[-1].head.commit
    assert lab.origin.git("rev-parse", "main^1", "main^2").split() == [before, head]


def test_a_branch_is_not_merged_into_a_main_that_was_set_back_meanwhile(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gitops.promotion import merge as module

    start = lab.tip
    lab.land({"README.md": b"taken back\n"})
    lab.branch("feature", {"new": b"x"})
    real = module.judge

    def judge(state: Any, result: Any, *more: Any) -> object:
        point(lab, "main", start)
        return real(state, result, *more)

    monkeypatch.setattr(module, "judge", judge)
    with pytest.raises(RuleError, match="main: was rewritten"):
        merge(lab.clone, lab.remote, "feature")
    assert lab.origin.resolve("main") == start


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("160000 commit {tip}\tsub", "sub: is a submodule"),
        ("120000 blob {nowhere}\tlink", "link: is a link that leads nowhere"),
        ("120000 blob {outside}\tlink", "link: is a link that leads nowhere, or out of the repository"),
        ("120000 blob {itself}\tlink", "link: is a link that leads nowhere"),
        ("120000 blob {git}\tlink", "link: is a link that leads nowhere"),
        ("100644 blob {blob}\t" + "x" * 256, "x: has a name that no checkout can hold"),
        (
            "100644 blob {encoding}\t.gitattributes",
            "dags/example.py, src/face_attributes/__init__.py: is rewritten on checkout",
        ),
        ("100644 blob {blob}\t.git", "git fsck: "),
        ("100644 blob {blob}\t..", "git fsck: "),
    ],
)
def test_what_no_checkout_can_hold_is_refused(lab: Lab, row: str, says: str) -> None:
    def blob(content: bytes) -> str:
        return lab.origin.git("hash-object", "-w", "--stdin", input=content)

    names = {
        "tip": lab.tip,
        "blob": blob(b"x"),
        "nowhere": blob(b"nowhere"),
        "outside": blob(b"../outside"),
        "itself": blob(b"link/x"),
        "git": blob(b".git/config"),
        "encoding": blob(b"# a comment\n*.py text\tworking-tree-encoding=UTF-7\n"),
    }
    made = tree(lab.origin, sorted([*rows(lab.origin, lab.tip), row.format(**names)], key=_order))
    point(lab, "odd", lab.origin.commit_tree(made, [lab.tip], "Odd"))
    assert says in said(lab, "odd")


@pytest.mark.parametrize(
    "names", [("Dags/x", "dags/X"), ("new", "NEW"), ("\u00e9", "e\u0301"), ("SRC", "src/x")]
)
def test_names_that_one_file_system_takes_for_one_are_refused(lab: Lab, names: tuple[str, str]) -> None:
    lab.branch("alike", {name: name.encode() for name in names})
    assert "differ in upper and lower case or in their accents only" in said(lab, "alike")


def test_names_alike_that_main_has_already_stop_nobody(lab: Lab) -> None:
    point(lab, "main", lab.origin.commit_files(lab.tip, {"new": b"x", "NEW": b"y"}, "Alike"))
    lab.branch("other", {"more": b"x"})
    lab.merge("other")


@pytest.mark.parametrize("where", [".gitattributes", ".git/info/attributes", "config"])
def test_no_attribute_and_no_setting_of_a_checkout_settles_a_conflict(lab: Lab, where: str) -> None:
    base = lab.land({"file": b"a\nb\nc\n"})
    lab.branch("other", {"file": b"a\nB\nc\n"}, on=base)
    lab.land({"file": b"a\nZ\nc\n"})
    if where == "config":
        lab.clone.git("config", "merge.default", "union")
    else:
        (lab.clone.path / where).parent.mkdir(exist_ok=True)
        (lab.clone.path / where).write_text("* merge=union\n")
    assert said(lab, "other").startswith("history: conflicts with main in file")


def test_attributes_that_main_has_already_stop_nobody(lab: Lab) -> None:
    lab.land({".gitattributes": b"*.bat text eol=crlf\n", "start.bat": b"x\n"})
    lab.branch("other", {"more": b"x"})
    lab.branch("worse", {"end.bat": b"x\n"})
    assert said(lab, "worse").startswith("end.bat: is rewritten on checkout by .gitattributes")
    lab.merge("other")


def test_a_folder_that_main_split_is_a_conflict(lab: Lab) -> None:
    """Git names no file then."""
    files = {f"z/{number}.txt": f"line {number}\n".encode() * 20 for number in range(4)}
    base = lab.land(files)
    lab.branch("new", {"z/new.txt": b"new\n"}, on=base)
    moved = {f"{'xy'[index // 2]}{name[1:]}": content for index, (name, content) in enumerate(files.items())}
    lab.land(dict.fromkeys(files) | moved)
    assert said(lab, "new").startswith("history: conflicts with main in a folder that one side moved")


def _order(row: str) -> str:
    head, _, name = row.partition("\t")
    return name + ("/" if head.startswith("040000") else "")


def test_links_that_lead_somewhere_pass(lab: Lab) -> None:
    targets = {"one": b"README.md", "two": b"dags", "dags/three": b"../two/../one", "four": b"two/three"}
    names = {
        name: lab.origin.git("hash-object", "-w", "--stdin", input=target) for name, target in targets.items()
    }
    dags = tree(
        lab.origin,
        sorted([*rows(lab.origin, f"{lab.tip}:dags"), f"120000 blob {names.pop('dags/three')}\tthree"]),
    )
    found = [
        f"040000 tree {dags}\tdags" if row.endswith("\tdags") else row for row in rows(lab.origin, lab.tip)
    ]
    found += [f"120000 blob {blob}\t{name}" for name, blob in names.items()]
    made = tree(lab.origin, sorted(found, key=_order))
    point(lab, "links", lab.origin.commit_tree(made, [lab.tip], "Links"))
    lab.merge("links")
    assert lab.origin.read("main", "four") == b"two/three"


@pytest.mark.parametrize(
    ("options", "merges"),
    [
        ({"extra": "encoding UTF-16LE\n", "date": "1700000000 +0000"}, True),
        ({"message": b"x" * 200_000 + b"\n", "date": "1700000000 +0000"}, True),
        ({"message": b"\xff\xfe\x1b[31m\n", "date": "1700000000 +0000"}, True),
        ({"date": "99999999999999 +0000"}, None),
        ({"date": "-5 +0000"}, False),
        ({"date": "x"}, False),
    ],
    ids=["encoding", "long subject", "bytes", "far", "negative", "no date"],
)
def test_an_odd_commit_is_merged_or_refused_in_one_line(
    lab: Lab, options: dict[str, Any], merges: bool | None
) -> None:
    odd = poison.commit(
        lab.origin, lab.origin.git("rev-parse", lab.commit({"new": b"x"}) + "^{tree}"), [lab.tip], **options
    )
    point(lab, "odd", odd)
    lab.clone.fetch(lab.remote)
    result, broken = merge_result(lab.clone, lab.tip, odd)
    if merges is not None:
        assert (result is not None) == merges
    if result is None:
        assert "git fsck: " in str(broken[0])
        said(lab, "odd")
        return
    lab.merge("odd")
    (subject,) = [entry.subject for entry in lab.origin.log("main", options=("-1",))]
    assert subject.startswith("Merge odd: ")
    assert subject.isprintable()
