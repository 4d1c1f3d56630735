"""The checkout of a release by a bundle: only new files are tried, and nothing rewrites a file."""

import shutil

import pytest

from gitops.git.merge_result import merge_result
from gitops.git.repository import Repository
from tests.support.bundles import Make, version
from tests.support.lab import Lab


def _with_link(lab: Lab, name: str, target: str) -> str:
    """Put a commit with a link in the folder of the DAGs on main."""
    blob = lab.origin.git("hash-object", "-w", "--stdin", input=target.encode())
    listed = lab.origin.git("ls-tree", f"{lab.tip}:dags")
    folder = lab.origin.git("mktree", input=f"{listed}\n120000 blob {blob}\t{name}\n".encode())
    rows = [row for row in lab.origin.git("ls-tree", lab.tip).split("\n") if not row.endswith("\tdags")]
    tree = lab.origin.git("mktree", input="\n".join([*rows, f"040000 tree {folder}\tdags", ""]).encode())
    commit = lab.origin.commit_tree(tree, [lab.tip], "Link")
    lab.origin.git("update-ref", "refs/heads/main", commit)
    return commit


def _refused(lab: Lab, make: Make, odd: str, good: str) -> str:
    """Declare a release that cannot be checked out; return the reason."""
    bundle = make()
    assert version(bundle) == good
    lab.declare("staging", f"commit: {odd}\n")
    bundle.refresh()
    assert version(bundle) == good
    return (bundle.serving and bundle.serving.refused) or ""


def test_a_link_is_tried_with_the_files_that_the_release_before_had(lab: Lab, make: Make) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    lab.land({"README.md": None})
    odd = _with_link(lab, "shared.py", "../README.md")
    assert "shared.py is a link that leads nowhere" in _refused(lab, make, odd, good)
    # A link that leads to a file that stays is fine, and so is the release after it.
    bundle = make()
    lab.land({"dags/shared.py": None})
    fine = _with_link(lab, "shared.py", "example.py")
    for commit in (fine, lab.land({"dags/other.py": b""})):
        lab.declare("staging", f"commit: {commit}\n")
        bundle.refresh()
        assert version(bundle) == commit


@pytest.mark.long
def test_a_file_in_too_many_folders_is_refused_by_the_bundle_and_the_check(lab: Lab, make: Make) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    tree = lab.origin.git("rev-parse", f"{lab.tip}:dags")
    for _ in range(1500):
        tree = lab.origin.git("mktree", input=f"040000 tree {tree}\td\n")
    rows = lab.origin.git("ls-tree", lab.tip)
    odd = lab.origin.commit_tree(
        lab.origin.git("mktree", input=f"{rows}\n040000 tree {tree}\tdeep\n"), [lab.tip], "Deep"
    )
    lab.clone.fetch(lab.remote)
    lab.origin.git("update-ref", "refs/heads/deep", odd)
    lab.clone.fetch(lab.remote)
    _, (finding,) = merge_result(lab.clone, lab.clone.resolve(lab.clone.branch_ref(lab.remote, "main")), odd)
    assert "has a name that no checkout can hold" in str(finding)
    lab.origin.git("update-ref", "refs/heads/main", odd)
    assert "is in more than 100 folders" in _refused(lab, make, odd, good)


@pytest.mark.parametrize("attribute", ["working-tree-encoding=UTF-7", "eol=crlf"])
def test_attributes_by_which_git_rewrites_the_reviewed_files_are_refused(
    lab: Lab, make: Make, attribute: str
) -> None:
    good = lab.train("a")
    lab.declare("staging", f"commit: {good}\n")
    odd = lab.land({"dags/.gitattributes": f"# words\n*.py text\t{attribute}\n".encode()})
    assert "dags/example.py is rewritten by .gitattributes" in _refused(lab, make, odd, good)


def test_a_checkout_borrows_its_objects_and_one_that_has_its_own_is_made_again(lab: Lab, make: Make) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    bundle = make()
    checkout = bundle.path.parent
    objects = checkout / ".git" / "objects"
    assert list((objects / "pack").iterdir()) == []
    # As an earlier version of Visage left it.
    shutil.rmtree(checkout)
    Repository.clone(str(bundle.bare_repo_path), checkout)
    second = lab.land({"dags/new.py": b""})
    lab.declare("staging", f"commit: {second}\n")
    bundle.refresh()
    assert version(bundle) == second
    assert (checkout / "dags/new.py").is_file()
    assert list((objects / "pack").iterdir()) == []


def test_the_packs_of_many_fetches_are_joined(lab: Lab, make: Make) -> None:
    bundle = make("dev")
    packs = bundle.bare_repo_path / "objects" / "pack"
    lab.land({"README.md": b"Words\n"})
    bundle.refresh()
    pack = next(packs.glob("*.pack"))
    for number in range(50):
        for suffix in (".pack", ".idx"):
            shutil.copy(pack.with_suffix(suffix), packs / f"pack-{number:040x}{suffix}")
    lab.land({"README.md": b"More words\n"})
    bundle.refresh()
    assert len(list(packs.glob("*.pack"))) == 1
