import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.errors import EnvironmentsError
from gitops.git.repository import Repository
from gitops.release import environments
from gitops.release.environments import EARLIER, TERMINAL, Environment, Environments
from gitops.release.load import load_state
from gitops.release.snapshot import Snapshot
from tests.support.environments import THESE

DEV = b"title: Development\ncolor: teal\n"
STAGING = b"title: Staging\ncolor: violet\nafter: [dev]\n"


def graph(**after: str) -> Environments:
    """Make environments of lines such as `prod="staging,qa"`; `_` stands for a dash."""
    declared = (name.replace("_", "-") for name in after)
    edges = (tuple(filter(None, before.split(","))) for before in after.values())
    return Environments.from_entries(
        Environment(name, name, color, before, name)
        for name, color, before in zip(declared, TERMINAL, edges, strict=False)
    )


def test_this_repository_has_the_environments_that_its_history_had() -> None:
    assert THESE == EARLIER
    assert THESE.names == ("dev", "staging", "prod")


def test_the_order_is_that_of_promotion_in_whatever_order_they_are_declared() -> None:
    found = graph(prod_us="staging", staging="qa", prod_eu="staging,perf", dev="", perf="dev", qa="dev")
    assert found.names == ("dev", "perf", "qa", "staging", "prod-eu", "prod-us")
    assert (found.root, found.promotable) == ("dev", found.names[1:])
    assert [name for name in found if found.follows(name)] == ["dev"]
    assert found.before("prod-eu") == ("perf", "staging")
    assert found.chain("prod-eu") == ("dev", "perf", "qa", "staging")
    assert found.chain("prod-us") == ("dev", "qa", "staging")
    assert found.chain("dev") == ()


@given(st.lists(st.integers(0, 40), max_size=7))
def test_any_graph_without_a_cycle_has_an_order(choices: list[int]) -> None:
    names = [f"e{number}" for number in range(len(choices) + 1)]
    after = {
        name: ",".join({names[choice % number], names[choice // 6 % number]})
        for number, (name, choice) in enumerate(zip(names[1:], choices, strict=True), start=1)
    }
    found = graph(**{names[0]: "", **dict(reversed(after.items()))})
    assert sorted(found) == names
    for name in found:
        assert all(found.names.index(before) < found.names.index(name) for before in found.chain(name))
        assert set(found.before(name)) <= set(found.chain(name))


def test_a_wave_has_the_environments_that_name_it() -> None:
    found = Environments.from_files(
        {
            "dev": DEV,
            "staging": STAGING,
            "prod-us": b"title: US\ncolor: blue\nafter: [staging]\nwave: prod\n",
            "prod-eu": b"title: EU\ncolor: blue\nafter: [staging]\nwave: prod\n",
        }
    )
    assert found.waves == {"dev": ("dev",), "staging": ("staging",), "prod": ("prod-eu", "prod-us")}
    assert found.last_wave == found.wave("prod") == ("prod-eu", "prod-us")
    with pytest.raises(EnvironmentsError, match=r"canary: no such wave; there are dev, staging, prod$"):
        found.wave("canary")
    with pytest.raises(EnvironmentsError, match="qa: no such environment; there are dev, staging, prod-eu"):
        found["qa"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("dev", b"", "not a mapping of keys to values"),
        ("dev", b"[1]", "not a mapping of keys to values"),
        ("dev", b"color: teal\n", "title: missing"),
        ("dev", b"title: A\n", "color: missing"),
        ("dev", b"title: A\ncolor: red\n", "color: 'red': input should be 'teal', "),
        ("dev", b"title: A\ncolor: [teal]\n", "color: ['teal']: input should be"),
        ("dev", b'title: ""\ncolor: teal\n', "title: ''"),
        ("dev", b'title: "a\\nb"\ncolor: teal\n', "title: "),
        ("dev", b'title: "a\\u202Eb"\ncolor: teal\n', "title: a character that cannot be printed"),
        ("dev", b"title: A\ncolor: teal\nfollow: main\n", "follow: unknown key"),
        ("dev", b"title: A\ncolor: teal\nafter: []\n", "after: names no environment"),
        ("dev", b"title: A\ncolor: teal\nafter:\n", "after: names no environment"),
        ("qa", b"title: A\ncolor: sky\nafter: dev\n", "after: 'dev': input should be a valid tuple"),
        (
            "qa",
            b"title: A\ncolor: sky\nafter: [lab]\n",
            "after: lab: no such environment; there are",
        ),
        ("qa", b"title: A\ncolor: sky\nafter: [dev, dev]\n", "after: names an environment twice"),
        ("qa", b"title: A\ncolor: sky\nafter: [qa]\n", "environments: qa wait for each other"),
        ("qa", b"title: A\ncolor: sky\nafter: [dev]\nwave: A b\n", "wave: 'A b': string should match"),
        ("qa", b"title: A\ncolor: teal\nafter: [dev]\n", "color: teal is that of dev, of another wave"),
        ("qa", b"title: A\ncolor: sky\nafter: [staging]\nwave: staging\n", "wave: staging has staging too"),
        ("qa", b"title: A\ncolor: sky\n", "environments: dev and qa without `after`"),
        (
            "dev",
            b"title: A\ncolor: teal\nafter: [staging]\n",
            "dev, staging wait for each other",
        ),
        ("QA", b"title: A\ncolor: sky\nafter: [dev]\n", "'QA': no such environment, and no name for one"),
        ("-x", b"title: A\ncolor: sky\nafter: [dev]\n", "'-x': no such environment"),
        ("a--b", b"title: A\ncolor: sky\nafter: [dev]\n", "'a--b': no such environment"),
        ("a" * 31, b"title: A\ncolor: sky\nafter: [dev]\n", "no such environment, and no name for one"),
        ("main", b"title: A\ncolor: sky\nafter: [dev]\n", "main: git or the local engine uses that name"),
        ("logs", b"title: A\ncolor: sky\nafter: [dev]\n", "logs: git or the local engine uses that name"),
        ("qa", b"title: &a A\ncolor: sky\n", "environment.yaml:1: an anchor (&)"),
        ("qa", b"title: A\ntitle: B\n", "environment.yaml:2: title is there twice"),
        ("qa", b"#" * 5000, "larger than 4,096 bytes"),
    ],
)
def test_refuses_in_one_line_that_names_the_remedy(name: str, content: bytes, says: str) -> None:
    with pytest.raises(EnvironmentsError) as caught:
        Environments.from_files({"dev": DEV, "staging": STAGING, name: content})
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert "; " in message
    assert caught.value.finding.remedy


def test_a_cycle_has_no_beginning() -> None:
    with pytest.raises(EnvironmentsError, match="environments: a, b wait for each other"):
        graph(a="b", b="a")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_environment_or_one_line(content: bytes) -> None:
    message = ""
    try:
        environments.read(content, "qa")
    except EnvironmentsError as error:
        message = str(error)
    assert "\n" not in message


def test_the_files_of_a_checkout_and_of_its_commit_are_read_alike(lab) -> None:
    lab.clone.fetch("origin")
    lab.clone.git("checkout", "--quiet", "origin/main")
    assert (
        Environments.from_folder(lab.clone.path) == Snapshot.load(lab.origin, lab.tip).environments == THESE
    )


def test_a_commit_from_before_there_were_such_files_has_the_three_of_that_time(lab) -> None:
    lab.land({environments.path_of(name): None for name in THESE})
    commit = lab.train("a")
    lab.release("staging")
    state = lab.state()
    assert state.environments == EARLIER
    assert state.environments_problem is None
    assert state.declared("staging").commit == commit
    assert [entry.commit for entry in state.history("staging")] == [commit, None]


def test_a_change_that_breaks_them_stops_no_environment(lab) -> None:
    commit = lab.train("a")
    lab.release("staging")
    lab.land({"environments/qa/environment.yaml": b"title: QA\ncolor: sky\nafter: [dev]\n"})
    lab.land({"environments/staging/environment.yaml": b"title: Staging\ncolor: violet\nafter: [lab]\n"})
    state = lab.state()
    assert state.environments.names == ("dev", "qa", "staging", "prod")
    assert "after: lab: no such environment" in str(state.environments_problem)
    assert state.declared("staging").commit == commit
    assert state.declared("dev").commit == lab.tip


def test_a_release_file_cannot_make_an_environment_follow_main(lab) -> None:
    first = lab.train("a")
    lab.release("staging")
    lab.declare("staging", "follow: main\n")
    state = lab.state()
    assert state.present("staging").commit == first
    assert [entry.commit for entry in state.history("staging")] == [first, None]


def test_a_verdict_of_an_environment_that_there_is_not_is_ignored_and_named(lab) -> None:
    commit = lab.train("a")
    made = lab.verdict("canary", commit)
    tag = lab.origin.tag(commit, made.tag, made.message, at=made.at, sign=lab.key("canary").sign)
    lab.origin.git("update-ref", f"refs/tags/{made.tag}", tag)
    verdicts = lab.state().verdicts
    assert verdicts.verified("canary", commit) is None
    assert f"verified/canary/{commit[:12]}: ignored, there is no environment canary" in map(
        str, verdicts.ignored
    )


def test_a_file_that_is_there_twice_makes_no_environment(lab) -> None:
    tree = lab.origin.git("ls-tree", f"{lab.tip}:environments/dev").splitlines()
    entry = next(line for line in tree if line.endswith("\tenvironment.yaml"))
    tree = lab.origin.git("mktree", input="\n".join([*tree, entry, ""]))
    for folder in ("environments", ""):
        name = "dev" if folder else "environments"
        entries = lab.origin.git("ls-tree", f"{lab.tip}:{folder}").splitlines()
        kept = [line for line in entries if not line.endswith(f"\t{name}")]
        tree = lab.origin.git("mktree", input="\n".join([*kept, f"040000 tree {tree}\t{name}", ""]))
    commit = lab.origin.commit_tree(tree, [lab.tip], "Twice")
    with pytest.raises(EnvironmentsError, match="is there twice in the tree"):
        assert Snapshot.load(lab.origin, commit).environments


def test_a_ledger_reads_history_that_has_no_environment_at_all(tmp_path) -> None:
    repository = Repository(tmp_path)
    repository.git("init", "--quiet", "--initial-branch=main", "--template=", ".")
    commit = repository.commit_files(None, {"a": b"a"}, "Start")
    repository.git("update-ref", "refs/heads/main", commit)
    assert load_state(repository).environments == EARLIER
