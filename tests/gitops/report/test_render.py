import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.diff.diff import Change, Difference, Section
from gitops.findings import Finding
from gitops.gates import gates
from gitops.model.card import Card
from gitops.model.cost import Cost, StageCost
from gitops.model.data import Data, Repeated, Yes
from gitops.model.drift_comparison import PATH, AttributeChange, DriftComparison
from gitops.model.groups import Contradictions, Gap, Groups
from gitops.model.metrics import Interval, Metrics, Training
from gitops.paths import CARD as CARD_FILE
from gitops.paths import GROUPS as GROUPS_FILE
from gitops.promotion.jobs import Job
from gitops.promotion.proposals import push
from gitops.promotion.rollbacks import rollback
from gitops.release.load import load_state
from gitops.report.collect import Incumbent, Move, ReportInputs, gather
from gitops.report.data import Appended
from gitops.report.render import LONGEST, render
from gitops.training import experiments
from gitops.training.experiments import Experiment
from gitops.training.trial import Trial
from tests.support.figures import card_file, groups_file, model_files
from tests.support.lab import Lab

OURS = {"<details>", "</details>", "<summary>", "</summary>", "<code>", "</code>"}
NASTY = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</details><img src=x onerror=y>",
            "<!-- ",
            "`` ``` `",
            "| a | b |\n|---|---|",
            "\\`<b>\\",
            "![x](http://e.example/x.png)",
            "[x](javascript:y)",
            "www.example.com http://example.com a@example.com",
            "@everyone #1",
            "```\n```mermaid",
            "&lt;b&gt;",
            "$`x`$",
            "# title\n- item\n> quote",
            "*a* _b_ ~~c~~",
        ]
    ),
    st.text(alphabet="`|<>&\\\n_*[]()!#@-", max_size=60),
)
RATES, SHARES = ("tpr", "others", "gap", "low", "high"), ("rate", "rate_low", "rate_high", "labels")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
INTERVALS = st.builds(Interval, NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS)


def some(keys: st.SearchStrategy, values: st.SearchStrategy) -> st.SearchStrategy:
    return st.dictionaries(keys, values, max_size=6)


GAPS = st.builds(Gap.model_construct, attribute=NASTY, group=NASTY, **dict.fromkeys(RATES, NUMBERS))
GROUPS = st.builds(
    Groups.model_construct,
    minimum=st.just(30),
    gaps=st.lists(GAPS, max_size=4).map(tuple),
    contradictions=st.none() | st.builds(Contradictions.model_construct, **dict.fromkeys(SHARES, NUMBERS)),
)
COUNTS = some(NASTY, st.integers(0, 10**15))
SHARE_OF = st.fixed_dictionaries(dict.fromkeys(("share", "share_low", "share_high"), st.none() | NUMBERS))
YES = st.builds(lambda counts, ends: Yes.model_construct(yes=counts, **ends), COUNTS, SHARE_OF)
DATA = st.builds(
    Data.model_construct,
    source=NASTY,
    rows=COUNTS,
    batches=COUNTS,
    shares=some(NASTY, YES),
    contradictions=st.none(),
    repeated=st.none()
    | st.builds(Repeated.model_construct, images=st.integers(0), of=st.integers(0), parts=COUNTS),
    people=st.none(),
)
APPENDED = st.builds(Appended, NASTY, COUNTS, COUNTS)
CARDS = st.builds(Card.model_construct, sections=some(NASTY, some(NASTY, st.none() | NASTY)))
FIGURES = st.builds(
    Metrics,
    groups=st.none() | GROUPS,
    card=st.none() | CARDS,
    sha256=st.none() | NASTY,
    means=some(st.sampled_from(["mean_accuracy", "mean_f1", "majority_accuracy"]), INTERVALS),
    attributes=some(NASTY, INTERVALS),
    slices=some(NASTY, INTERVALS),
    speed=some(NASTY, NUMBERS),
    model_bytes=st.none() | st.integers(0, 10**12),
    data=st.none() | DATA,
    training=st.builds(Training.model_construct, device=NASTY, epochs=st.integers(0)),
    curve=st.lists(st.tuples(*[NUMBERS] * 4), max_size=80).map(tuple),
)
EXPERIMENTS = st.lists(
    st.tuples(
        st.builds(
            Experiment.model_construct,
            values=some(NASTY, NASTY),
            seconds=st.floats(0, 1e6),
            problem=st.just("") | NASTY,
        ),
        FIGURES,
    ),
    max_size=3,
).map(tuple)
COSTS = st.builds(
    Cost.model_construct,
    stages=some(
        NASTY,
        st.builds(
            StageCost.model_construct,
            **dict.fromkeys(("seconds", "cpu_seconds", "gpu_seconds"), st.floats(0, 1e9)),
            **dict.fromkeys(("peak_bytes", "read_bytes", "written_bytes"), st.integers(0, 10**15)),
        ),
    ),
)
ROWS = st.builds(gates.GateResult, NASTY, NASTY, NASTY, NASTY, st.booleans())
CHANGES = st.lists(st.builds(Change, NASTY, NASTY, NASTY, NASTY), max_size=5).map(tuple)
SECTIONS = st.builds(Section, st.sampled_from(["DAGs", "Data", "Settings"]) | NASTY, CHANGES)
DIFFERENCES = st.builds(
    Difference, st.just("a" * 40), st.just("b" * 40), st.lists(SECTIONS, max_size=5).map(tuple)
)
JOBS = some(NASTY, st.builds(Job, result=NASTY, seconds=st.floats(0, 1e6), url=NASTY))
SECONDS = some(NASTY, st.floats(0, 1e6))
INCUMBENTS = st.builds(
    Incumbent, NASTY, NASTY, st.none() | NASTY, FIGURES, st.lists(ROWS, max_size=4).map(tuple), NASTY
)
FINDINGS = st.lists(st.builds(Finding, NASTY, NASTY, NASTY, NASTY), max_size=30).map(tuple)
CHANGED = st.builds(AttributeChange.model_construct, **dict.fromkeys(AttributeChange.model_fields, NUMBERS))
WORTH = st.builds(
    DriftComparison.model_construct,
    batches=st.lists(NASTY, min_size=1, max_size=3),
    samples=st.integers(1),
    mean_accuracy=CHANGED,
    per_attribute=some(NASTY, CHANGED),
)
MOVES = st.lists(st.builds(Move, NASTY, DIFFERENCES), max_size=2).map(tuple)


@st.composite
def report_inputs(draw: st.DrawFn) -> ReportInputs:
    incumbents = draw(st.lists(INCUMBENTS, max_size=3).map(tuple))
    return ReportInputs(
        base=draw(NASTY),
        head=draw(NASTY),
        follower=draw(NASTY),
        broken=draw(FINDINGS),
        before=draw(FIGURES),
        after=draw(FIGURES),
        difference=draw(DIFFERENCES),
        # Each move has its incumbent.
        moves=draw(MOVES)[: len(incumbents)],
        proposed=draw(FIGURES),
        drift=draw(st.none() | WORTH),
        incumbents=incumbents,
        appended=draw(st.lists(APPENDED, max_size=2).map(tuple)),
        trial=draw(st.none() | st.builds(Trial, FIGURES, FIGURES, SECONDS, EXPERIMENTS)),
        cost=draw(st.none() | COSTS),
        jobs=draw(JOBS),
        price=draw(st.none() | st.floats(0, 10)),
    )


def tags(text: str) -> list[str]:
    """The HTML that a forge would see, as a Markdown parser finds it."""
    found = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        for part in (token, *(token.children or ())):
            if part.type in ("html_block", "html_inline"):
                found += re.findall(r"<[^>]*>?", part.content)
            assert part.type not in ("image", "link_open"), part
    return found


@given(report_inputs(), st.sampled_from([600, 5000, LONGEST]))
@settings(max_examples=75, deadline=None)
def test_whatever_goes_in(inputs: ReportInputs, longest: int) -> None:
    text = render(inputs, longest=longest)
    assert len(text) <= longest
    found = tags(text)
    assert set(found) <= OURS
    for name in ("details", "summary", "code"):
        assert found.count(f"<{name}>") == found.count(f"</{name}>")
    assert text.count("<details>") == text.count("</details>") == found.count("<details>")
    assert not re.search(r"@(?!\d*&#8203;)\w", re.sub(r"`[^`\n]*`|<code>.*?</code>", "", text))


HUGE = Metrics(
    sha256="a" * 64,
    means={"mean_accuracy": Interval(0.9, 0.89, 0.91)},
    attributes={f"Attribute_{number}": Interval(0.9) for number in range(2000)},
)


def huge() -> ReportInputs:
    changes = tuple(Change(f"key{number}" * 10, "x" * 300, "y" * 300) for number in range(1000))
    sections = tuple(Section(title, changes) for title in ("DAGs", "Parameters", "Data", "Code"))
    return ReportInputs(
        "main", "feature", "dev", (), Metrics(), HUGE, Difference("a" * 40, "b" * 40, sections)
    )


def test_folded_parts_are_cut_first_and_a_line_says_so() -> None:
    text = render(huge(), artifact="https://example.com/report?id=1")
    assert len(text) <= LONGEST
    assert "_Left out for length: " in text
    assert "Changes in dev" in text.splitlines()[-1]
    assert text.rstrip().endswith("[The whole report](https://example.com/report?id=1)_")
    assert "mean accuracy | " in text
    assert len(render(huge(), longest=10**9)) > LONGEST


def test_a_first_screen_that_is_too_long() -> None:
    broken = tuple(Finding("f" * 200, "r" * 200, "w" * 200, rule="job") for _ in range(20))
    text = render(dataclasses.replace(huge(), broken=broken), longest=3000)
    assert len(text) <= 3000
    assert "20 problems" in text.splitlines()[0]
    assert "the end of the first part" in text


@pytest.fixture
def run(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(lab.clone.path)

    def invoke(*args: str) -> Result:
        result = CliRunner().invoke(app, ["report", *args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return lambda *args: invoke("--without-dvc-remote", *args)


def test_a_change_of_code(lab: Lab, run) -> None:
    lab.train("a", 0.9)
    lab.branch("feature", {"src/face_attributes/x.py": b"", "params.yaml": b"profile: small\n"})
    text = run("--head", "feature").stdout
    assert text.startswith(
        "**OK to merge `feature` into main. It changes: "
        "Parameters (profile, train.learning&#95;rate); Code (src/face&#95;attributes).**"
    )
    # The model is the one that main has: its figures are no news.
    assert "mean accuracy" not in text
    assert "<summary>Changes in dev</summary>" in text
    assert "Compared with the release" not in text


def test_a_model_that_was_made_before_the_change_is_noted(lab: Lab, run) -> None:
    lab.train("a")
    lab.branch(
        "faster", {"dvc.yaml": b"stages:\n  export:\n    cmd: make it fast\n    outs: [models/model.onnx]\n"}
    )
    text = run("--head", "faster").output
    assert "OK to merge " in text.splitlines()[0]
    assert "Note: its model was made before this change" in text
    assert "gitops train faster --wait" in text


def test_another_model_is_held_against_every_incumbent(lab: Lab, run) -> None:
    lab.train("a", 0.9)
    lab.release("staging")
    curve = b"epoch,train_loss,validation_loss,validation_accuracy\n1,0.5,0.4,0.8\n2,0.3,0.2,0.9\n"
    lab.branch("candidate/b", model_files("b", 0.95) | {"plots/learning_curve.csv": curve})
    text = run("--head", "candidate/b").stdout
    assert "Mean accuracy goes from 0.9000 to 0.9500." in text
    row = "| mean accuracy | 0.9000 (0.8869 to 0.9131) | 0.9500 (0.9404 to 0.9596) "
    assert f"{row}| +0.0500, significant (95 %) |" in text
    assert "Compared with the release of each environment" in text
    # The other means are compared with main above, and with nothing twice.
    assert text.count("\n| majority-class baseline |") == 1
    assert re.search(r"\| gates \|  \| passes all \d \| passes all \d \| passes all \d \|", text)
    assert "    line [0.8, 0.9]" in text
    assert text.count("```mermaid") == 3

    lab.branch("candidate/c", model_files("c", 0.5))
    text = run("--head", "candidate/c").stdout
    assert " into main: 2 problems." in text.splitlines()[0]
    assert "fails: mean accuracy" in text


def test_the_cost_of_the_training_of_a_new_model(lab: Lab, run) -> None:
    stage = StageCost(
        seconds=90.5, cpu_seconds=170, peak_bytes=2 * 10**9, read_bytes=10**8, written_bytes=10**7
    )
    spent = Cost(run="run/b", stages={"train": stage, "evaluate": stage})
    commit = lab.commit(model_files("b", 0.95), message=f"Candidate\n\n{spent.trailer}\n")
    commit = lab.commit({"docs/b.md": b"about it"}, on=commit)
    lab.origin.git("update-ref", "refs/heads/candidate/b", commit)
    _, _, folded = run("--head", "candidate/b").stdout.partition("The run that trained the model:")
    assert "| `train` | 90 s | 3 min |  | 2,000 MB | 100 MB | 10.00 MB |" in folded
    assert "| `sum` | 3 min | 6 min |  | 2,000 MB | 200 MB | 20.00 MB |" in folded
    lab.branch("words", {"docs/x.md": b"x"}, on=commit)
    lab.origin.git("update-ref", "refs/heads/main", commit)
    assert "trained the model" not in run("--head", "words").stdout


def trial_of(folder: Path, **accuracies: float) -> Path:
    for name, accuracy in accuracies.items():
        metrics = folder / name / "metrics"
        metrics.mkdir(parents=True)
        (metrics / "evaluation.json").write_bytes(model_files(name, accuracy)["metrics/evaluation.json"])
    (folder / "timing.json").write_text(json.dumps({"pipeline on small data, after": 61.5}))
    return folder


def test_what_a_retraining_gained_on_what_drifted(lab: Lab, run) -> None:
    made = model_files("new", 0.97)
    gain = {"accuracy": 0.93, "incumbent": 0.9, "difference": 0.03, "low": 0.02, "high": 0.04}
    metrics = {
        "format": 2,
        "model_sha256": json.loads(made["metrics/evaluation.json"])["model_sha256"],
        "samples": 177,
        "batches": ["prod-2026-01-07"],
        "mean_accuracy": gain,
        "per_attribute": {"Smiling": gain, "Bald": gain | {"difference": -0.01, "low": -0.02, "high": 0.01}},
    }
    lab.branch("candidate/x", made | {PATH: json.dumps(metrics).encode()})
    text = run("--head", "candidate/x").stdout
    shown, _, folded = text.partition("<details>")
    assert "On 177 held-out images of prod-2026-01-07: 0.9300, where the incumbent has 0.9000" in shown
    rows = [line for line in folded.splitlines() if "points (" in line]
    assert [line.split("|")[1].strip() for line in rows] == ["`Smiling`", "`Bald`"]
    lab.branch("candidate/y", model_files("other", 0.97) | {PATH: json.dumps(metrics).encode()})
    assert "held-out" not in run("--head", "candidate/y").stdout, "figures of an earlier candidate"


def test_a_run_on_small_data(lab: Lab, run, tmp_path: Path) -> None:
    folder = trial_of(tmp_path / "trial", base=0.7, head=0.75)
    jobs = {"lint": {"result": "success", "seconds": 30}, "test": {"result": "success", "seconds": 61}}
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    out, whole = tmp_path / "report.md", tmp_path / "whole.md"
    options = ("--jobs", str(tmp_path / "jobs.json"), "--price", "0.25", "--name", "fe|ature")
    done = run("--trial", str(folder), *options, "--out", str(out), "--whole", str(whole))
    assert (done.exit_code, done.stdout) == (0, "")
    text = out.read_text()
    assert text == whole.read_text()
    assert "On the same small data" in text
    row = "| mean accuracy | 0.7000 (0.6799 to 0.7201) | 0.7500 (0.7310 to 0.7690) "
    assert f"{row}| +0.0500, significant (95 %) |" in text
    assert "| pipeline on small data, after | 1.0 min |" in text
    assert "| job `lint` | 30.0 s |" in text
    assert "3 minutes, 0.75 US dollars, as GitHub counts them" in text
    assert "OK to merge <code>fe&#124;ature</code> into main" in text


def test_experiments_are_one_table(lab: Lab, run, tmp_path: Path) -> None:
    folder = trial_of(
        tmp_path / "trial", base=0.7, head=0.75, **{"experiments/0": 0.8, "experiments/2": 0.75}
    )
    made = [
        Experiment(values={"train.epochs": "5", "train.rate": "0.1"}, seconds=60.5),
        Experiment(
            values={"train.epochs": "9", "train.rate": "0.1"}, problem="params.yaml: train.epochs: | 9"
        ),
        Experiment(values={"train.epochs": "2", "train.rate": "0.1"}, seconds=30),
    ]
    experiments.write(folder, made)
    text = run("--trial", str(folder)).stdout.partition("<details>")[0]
    rows = text.partition("The experiments of this branch")[2].splitlines()[2:7]
    assert rows[0] == (
        "| `train.epochs` | `train.rate` | mean accuracy | against this branch | balanced accuracy | time |"
    )
    gained = "0.8000 (0.7825 to 0.8175) | +0.0500, significant (95 %) | 0.7500 | 1.0\N{NO-BREAK SPACE}min |"
    assert rows[2] == f"| `5` | `0.1` | {gained}"
    assert rows[3].startswith("| `9` | `0.1` | failed: params.yaml: train.epochs:")
    assert rows[4] == "| `2` | `0.1` | 0.7500 (0.7310 to 0.7690) |  | 0.7500 | 30.0\N{NO-BREAK SPACE}s |"


def test_a_base_that_could_not_be_tried(lab: Lab, run, tmp_path: Path) -> None:
    text = run("--trial", str(trial_of(tmp_path / "trial", head=0.75))).stdout
    assert "| mean accuracy |  | 0.7500 (0.7310 to 0.7690) |  |" in text
    assert "`main` could not be tried, so there is nothing to compare with." in text


def test_what_a_model_that_stays_took_is_no_news(lab: Lab, run, tmp_path: Path) -> None:
    lab.land(
        model_files("a") | {"metrics/training.json": b'{"epochs": 24}', "metrics/performance.json": b"{}"}
    )
    lab.branch("words", {"docs/x.md": b"x"})
    (tmp_path / "jobs.json").write_text('{"lint": {"result": "success", "seconds": 30}}')
    text = run("--head", "words", "--jobs", str(tmp_path / "jobs.json")).stdout
    assert "job `lint`" in text
    assert "epochs" not in text
    lab.branch("candidate/b", model_files("b"))
    assert "| epochs | `24` |" in run("--head", "candidate/b").stdout


def test_a_job_that_was_skipped_though_it_is_needed_counts(lab: Lab, run) -> None:
    lab.branch("feature", {"dags/new.py": b"\n"})
    jobs = ("--head", "feature", "--job", "train=skipped", "--job", "test=success")
    assert "OK to merge " in run(*jobs, "--job", "dags=success").stdout.splitlines()[0]
    text = run(*jobs, "--job", "dags=skipped").stdout
    assert "- `job dags`: was skipped, though dags/new.py changes; run it" in text
    done = CliRunner().invoke(app, ["check", "--head", "feature", "--job", "dags=skipped"])
    assert (done.exit_code, "into main: job dags was skipped" in done.stderr) == (1, True)


def test_other_jobs_count(run) -> None:
    jobs = ("--job", "lint=success", "--job", "train=skipped")
    assert "OK to merge " in run(*jobs).stdout.splitlines()[0]
    text = run(*jobs, "--job", "test=failure").stdout
    assert text.startswith("**Do not merge `HEAD` into main: 1 problem. It changes no release")
    assert "- `job test`: ended with failure; read its log and correct the error" in text


def test_a_job_that_failed_is_named_with_its_reason_and_its_page(run, tmp_path: Path) -> None:
    page = "https://github.com/acme/visage/actions/runs/1/job/2"
    failed = {"result": "failure", "url": page, "reasons": ["no secrets: metrics/a.json:4", "<b>schemas"]}
    (tmp_path / "jobs.json").write_text(json.dumps({"lint": failed}))
    text = run("--jobs", str(tmp_path / "jobs.json")).stdout
    assert "- `job lint`: ended with failure: no secrets: metrics/a.json:4; " in text
    assert f"read its log and correct the error ([log of the job]({page}))" in text
    assert "<b>" not in text


def test_a_model_that_is_not_on_the_dvc_remote(lab: Lab, run, dvc_remote: Path) -> None:
    lab.branch("candidate/a", model_files("a"))
    assert "is not on the DVC remote" in run("--head", "candidate/a").stdout


def test_a_promotion_tells_what_its_environment_gets(lab: Lab, run) -> None:
    lab.train("a", 0.9)
    lab.release("staging")
    lab.land({"params.yaml": b"profile: full\n"})
    lab.train("b", 0.95)
    lab.promote("staging")
    text = run("--head", "promote/staging").stdout
    assert text.startswith("**OK to merge `promote/staging` into main. staging gets another")
    assert "Parameters (train.learning&#95;rate); Model (" in text.splitlines()[0]
    assert f"| release | `{lab.state().tip[:12]}` | `" in text
    assert "| mean accuracy | 0.9500 (0.9404 to 0.9596) | 0.9000 (0.8869 to 0.9131) |" in text
    assert re.search(r"\| gates \|  \| passes all \d \|", text)
    assert "<summary>Changes in staging</summary>" in text
    assert "in dev" not in text
    assert "<summary>How environments run</summary>" in text


def test_a_rollback_is_asked_no_gates(lab: Lab, run) -> None:
    for name in ("a", "b"):
        lab.train(name)
        lab.release("staging")
    state = lab.state()
    push(lab.clone, "origin", rollback(lab.clone, state, "staging", "origin", reason="slow"))
    text = run("--head", "rollback/staging").stdout
    assert "OK to merge " in text
    assert "| gates |  | not checked for a rollback |" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--trial", "nowhere"),
        ("--job", "test"),
        ("--jobs", "README.md"),
        ("--jobs", "nowhere"),
        ("--artifact", "javascript:alert(1)"),
        ("--artifact", "https://x.example/)<b>"),
        ("--out", "nowhere/report.md"),
        ("--head", "nowhere"),
    ],
)
def test_bad_arguments_are_one_line_and_the_next_command(run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 2


def test_the_report_shows_whom_a_model_serves_worst_and_the_fields_of_its_card_that_changed(lab: Lab) -> None:
    first = lab.land(model_files("a") | {GROUPS_FILE: groups_file(0.5), CARD_FILE: card_file("MIT")})
    branch = lab.commit(
        model_files("b", 0.91) | {GROUPS_FILE: groups_file(0.2), CARD_FILE: card_file("CC0-1.0")}, on=first
    )
    text = render(gather(lab.origin, load_state(lab.origin), branch))
    assert "Whom it serves worst" in text
    assert "| `Big_Nose` | `not Male` | 0.2000 | 0.7000 | 0.5000 (0.4000 to 0.6000) | 0.2000 |" in text
    assert "on 1.00% of the images" in text
    assert "| Data: licence | MIT | CC0-1.0 |" in text
    assert "SHA-256" not in text.partition("Model card")[2].partition("</details>")[0]
