import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitops.errors import ReleaseError
from gitops.release import file as release_file
from gitops.release.file import Release, parse, render
from gitops.release.load import add, fetch_state, load_state
from tests.support.environments import ENVIRONMENTS, ROOT, THESE

A, B = "a" * 40, "1" * 40


def follows(environment: str) -> bool:
    return environment == "dev"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_repository_s_own_files_are_valid(environment: str) -> None:
    content = (ROOT / release_file.path_of(environment)).read_bytes()
    parsed = parse(content, environment, follows=THESE.follows(environment))
    assert (parsed == Release(follow="main")) == THESE.follows(environment)


@pytest.mark.parametrize(
    ("environment", "content", "release_"),
    [
        ("dev", "follow: main\n", Release(follow="main")),
        ("staging", "commit: null\n", Release(commit=None)),
        ("staging", "commit:\n", Release(commit=None)),
        ("staging", f"# comment\ncommit: {A}\n", Release(commit=A)),
        (
            "prod",
            f"commit: {B}\nhold: rolled back from 123\n",
            Release(commit=B, hold="rolled back from 123"),
        ),
        ("prod", f"commit: '{B}'\nhold: 5\n", Release(commit=B, hold="5")),
        (
            "prod",
            f"commit: {B}\nruntime: lock:{A}{'0' * 24}\n",
            Release(commit=B, runtime=f"lock:{A}{'0' * 24}"),
        ),
    ],
)
def test_reads(environment: str, content: str, release_: Release) -> None:
    assert parse(content.encode(), environment, follows=follows(environment)) == release_


@pytest.mark.parametrize(
    ("environment", "content", "says"),
    [
        ("staging", "", "not a mapping"),
        ("staging", "[1]", "not a mapping"),
        ("staging", "hold: x\n", "no commit"),
        ("staging", "commit: abc123\n", "'abc123' is not a full commit id"),
        ("staging", f"commit: {A.upper()}\n", "not a full commit id"),
        ("staging", f"commit: {A}0\n", "not a full commit id"),
        ("staging", "commit: 1234567\n", "not a full commit id"),
        ("staging", "commit: true\n", "'true' is not a full commit id"),
        ("staging", f"commit: [{A}]\n", "does not fit"),
        ("staging", f"commit: {A}\ncommit: {B}\n", "release.yaml:2: commit is there twice"),
        ("staging", f"commit: {A}\nhodl: x\n", "hodl: unknown key"),
        ("staging", f"commit: {A}\nruntime: latest\n", "runtime: 'latest' is no digest"),
        ("staging", f"commit: {A}\nruntime:\n", "runtime: None is no digest"),
        (
            "dev",
            f"follow: main\nruntime: lock:{A}{'0' * 24}\n",
            "runtime: dev runs the one that its engine has",
        ),
        ("staging", f"commit: {A}\nfollow: main\n", "both follow and commit"),
        ("staging", "follow: main\n", "staging follows nothing"),
        ("staging", f"commit: {A}\nhold:\n", "hold: no reason"),
        ("staging", f'commit: {A}\nhold: "  "\n', "hold: no reason"),
        ("staging", f'commit: {A}\nhold: "a\\nb"\n', "hold: no reason"),
        ("staging", f"commit: {A}\nhold: {{a: b}}\n", "does not fit"),
        ("staging", f"commit: {A}\nhold: freeze (until 2026-02-30)\n", "hold: day is out of range"),
        ("staging", f"commit: &x {A}\n", "release.yaml:1: an anchor (&)"),
        ("staging", "commit: !!bool maybe\n", "release.yaml:1: a tag (!)"),
        ("staging", "commit: !!timestamp x\n", "release.yaml:1: a tag (!)"),
        ("staging", "commit: !!map [a]\n", "release.yaml:1: a tag (!)"),
        ("staging", f"commit: !!str {A}\n", "release.yaml:1: a tag (!)"),
        ("staging", "%YAML 1." + "1" * 5000 + f"\n---\ncommit: {A}\n", "larger than 4,096 bytes"),
        ("staging", f"%YAML 1.1\n---\ncommit: {A}\n", "a directive (%)"),
        ("staging", f"commit: {A}\n---\ncommit: {B}\n", "a second document"),
        ("staging", 'commit: "\\U00110000"\n', "invalid Unicode character"),
        ("staging", f"commit: {A}\0\n", "release.yaml:1: a control character"),
        ("staging", f"<<: {{commit: {A}}}\n", "unknown key"),
        ("staging", "commit: 2001-01-01\n", "'2001-01-01' is not a full commit id"),
        ("staging", "#" * 10_000_000, "larger than 4,096 bytes"),
        ("staging", "commit: &a [*a]\n", "an anchor (&)"),
        ("staging", "commit: {\n", "release.yaml:"),
        ("staging", "commit: !!python/object:os.system {}\n", "release.yaml:"),
        ("staging", "\ud800", "not UTF-8"),
        ("staging", "[" * 5000, "release.yaml"),
        ("staging", "? [a]\n: b\n", "release.yaml"),
        ("staging", "? {a: b}\n: b\n", "release.yaml"),
        ("dev", f"commit: {A}\n", "dev follows main"),
        ("dev", "follow: master\n", "follow: 'master' does not fit"),
        ("dev", "follow: main\nhold: x\n", "dev follows main and cannot be held"),
    ],
)
def test_refuses_in_one_line_that_names_file_and_remedy(environment: str, content: str, says: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        parse(content.encode("utf-8", "surrogatepass"), environment, follows=follows(environment))
    message = str(caught.value)
    assert says in message
    assert message.startswith(f"environments/{environment}/release.yaml")
    assert "\n" not in message
    assert "; " in message


def test_a_name_that_is_no_environment_leads_to_no_file() -> None:
    with pytest.raises(ReleaseError, match=r"'\.\./x': no such environment, and no name for one"):
        release_file.path_of("../x")


_SHAS = st.text("0123456789abcdef", min_size=40, max_size=40)
_REASONS = st.text(min_size=1, max_size=80).filter(lambda text: text.isprintable() and text.strip() != "")


@given(st.sampled_from(["staging", "prod"]), st.none() | _SHAS, st.none() | _REASONS)
def test_what_is_written_is_read_back(environment: str, commit: str | None, hold: str | None) -> None:
    written = render(Release(commit=commit, hold=hold), environment)
    assert parse(written, environment, follows=False) == Release(commit=commit, hold=hold)
    assert written.startswith(b"# ")


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    st.booleans(),
)
def test_any_bytes_are_a_release_or_one_line(content: bytes, follows: bool) -> None:
    try:
        parse(content, "qa", follows=follows)
    except ReleaseError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=50), _SHAS)
_KEYS = st.sampled_from(["commit", "hold", "follow"]) | st.text(max_size=50)


@given(st.dictionaries(_KEYS, _VALUES | st.lists(_SHAS), max_size=4), st.booleans())
def test_any_mapping_is_a_release_that_can_be_written_or_one_line(
    data: dict[str, object], follows: bool
) -> None:
    message = release_file.path_of("qa")
    try:
        found = parse(yaml.safe_dump(data, allow_unicode=True).encode(), "qa", follows=follows)
    except ReleaseError as error:
        message = str(error)
    else:
        assert parse(render(found, "qa"), "qa", follows=follows) == found
    assert message.startswith(release_file.path_of("qa"))
    assert "\n" not in message


def test_dev_declares_the_tip_of_main(lab) -> None:
    assert lab.state().declared("dev").commit == lab.tip


def test_declared_says_since_when(lab) -> None:
    commit = lab.train("a")
    by = lab.declare("staging", f"commit: {commit}\n")
    lab.land({"README.md": b"news\n"})
    found = lab.state().declared("staging")
    assert (found.commit, found.by) == (commit, by)


def test_a_missing_file_is_an_error(lab) -> None:
    lab.land({"environments/staging/release.yaml": None})
    with pytest.raises(ReleaseError, match="missing on main"):
        lab.state().declared("staging")


def test_history_is_newest_first_and_leaves_out_what_was_not_valid(lab) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    lab.declare("staging", "nonsense\n")
    second = lab.train("b")
    lab.declare("staging", f"commit: {second}\nhold: x\n")
    entries = load_state(lab.origin).history("staging")
    assert [(entry.commit, entry.hold) for entry in entries] == [(second, "x"), (first, None), (None, None)]


@pytest.mark.parametrize(
    "poison",
    [
        b"commit: !!bool maybe\n",
        b"commit: \xff\n",
        b"a: &a [*a]\n",
        b"#" * 5_000_000,
        b'commit: "\\UFFFFFFFF"\n',
    ],
)
def test_history_reports_no_version_that_nobody_can_read(lab, poison: bytes) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    lab.land({"environments/staging/release.yaml": poison})
    with pytest.raises(ReleaseError, match=r"^environments/staging/release\.yaml"):
        lab.state().declared("staging")
    lab.declare("staging", f"commit: {first}\nhold: x\n")
    assert [entry.hold for entry in load_state(lab.origin).history("staging") if entry.commit] == ["x", None]


def tree_with_two(lab, first: str, second: str, path: str) -> str:
    """Return a tree of main in which `path` has two entries: of the commits `first` and `second`."""
    folder, _, name = path.rpartition("/")
    entries = lab.origin.git("ls-tree", f"{first}:{folder}" if folder else first).splitlines()
    other = lab.origin.git("ls-tree", second, path).split("\t")[0]
    at = next(number for number, entry in enumerate(entries) if entry.endswith(f"\t{name}"))
    tree = lab.origin.git(
        "mktree", input="\n".join([*entries[: at + 1], f"{other}\t{name}", *entries[at + 1 :], ""])
    )
    while folder:
        folder, _, name = folder.rpartition("/")
        entries = lab.origin.git("ls-tree", f"{first}:{folder}" if folder else first).splitlines()
        entries = [
            f"040000 tree {tree}\t{name}" if entry.endswith(f"\t{name}") else entry for entry in entries
        ]
        tree = lab.origin.git("mktree", input="\n".join([*entries, ""]))
    return tree


@pytest.mark.parametrize(
    "path", ["environments", "environments/staging", "environments/staging/release.yaml"]
)
def test_a_file_that_is_there_twice_declares_nothing(lab, path: str) -> None:
    first = lab.train("a")
    lab.declare("staging", f"commit: {first}\n")
    before = lab.tip
    lab.declare("staging", "commit: null\n")
    tree = tree_with_two(lab, before, lab.tip, path)
    commit = lab.origin.commit_tree(tree, [lab.tip], "Twice")
    assert lab.origin.read(commit, "environments/staging/release.yaml") == f"commit: {first}\n".encode()
    with pytest.raises(ReleaseError, match=rf"{path} is there twice in the tree"):
        load_state(lab.origin, main=commit).declared("staging")


def test_equal_trees_are_the_same_release(lab) -> None:
    one = lab.train("a")
    two = lab.land({"README.md": b"news\n", "environments/prod/release.yaml": b"commit: null\n#\n"})
    three = lab.land({"src/face_attributes/new.py": b""})
    state = fetch_state(lab.clone, lab.remote, commits=[one, three, "f" * 40])
    assert state.same(one, two)
    assert not state.same(one, three)
    assert state.same(None, None)
    assert not state.same(one, None)
    assert not state.same(one, "f" * 40)


def test_a_state_does_not_answer_about_a_commit_that_was_not_read(lab) -> None:
    state, commit = lab.state(), "f" * 40
    with pytest.raises(KeyError, match=commit):
        state.may_run("staging", commit)
    finding = add(state, lab.clone, [commit]).may_run("staging", commit)
    assert "is not on main" in str(finding)
