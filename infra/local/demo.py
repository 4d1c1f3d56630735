"""The steps of `make demo-drift`: drift in the last environment and the way out, in minutes.

Faces arrive in different light. Monitoring raises an alarm, trains on the labelled images and proposes a
candidate with its accuracy on the drifted images. Once the environment runs the candidate, the alarm clears.
Only people and days are simulated: labels come from the drawing, and scores are filed under the days of a
week.
"""

import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dashboard.checks import Line, lines
from gitops.model import drift_comparison
from gitops.paths import MAIN
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState
from gitops.text import instructions
from gitops.training.candidate import candidate_branch
from gitops.training.on_main import branch_of
from infra.local import waiting
from infra.local.engine import Engine
from infra.local.errors import EngineError
from infra.local.first_run import PAUSE, FirstRun
from infra.local.screen import Step, listed
from infra.local.task import ENDED, Runs
from infra.local.training import DAG as TRAINING
from infra.local.training import Training

MONITORING = "model_monitoring_and_retraining"
DAY = 400  # images a day
CALM, DRIFTED_DAYS, AFTER = (6, 5), (4, 3, 2, 1), (1, 0)  # how many days ago
CHANGE = ("--light", "0.45", "--noise", "12")
SEED = 9000
CLEARS = "clears"  # the state of a resolved alarm in the record
_SCHEDULE_DELAY = 10.0  # seconds after which a scheduler has added a due run

_SHOW = "Show the candidate"
_MERGE_IT = "Merge it"
_AFTER = "Score two more days in different light, with labels"
_CLEARED = "Check: the alarm has cleared"
_USUAL = "Score two days of faces in the usual light"
_QUIET = "Check: no drift"
_OTHER = "Score four days of faces in different light, and add labels"
_RAISED = "Check: the alarm is raised, and a training started"
_LEARN = "Train on the drifted images"
_AGAIN = "Train with the same images on the current main, in dev"
_UNPAUSE, _MOVE_ON = "Unpause the training in {}", "Promote it to {}, which verifies it"


def plan(engine: Engine) -> list[str]:
    """Return lines that describe the steps of the demo in a checkout and their usual duration."""
    running = [name for name in engine.names if engine.runs(name)]
    last, changed = engine.names[-1], listed(engine.names[1:])
    lines = [f"make demo-drift changes main, {changed} of this checkout's engine. It will:"]
    if missing := [name for name in engine.names if name not in running]:
        up = f" ({', '.join(running)} runs)" if running else " (nothing is up)"
        lines.append(f"  - start an Airflow for {', '.join(missing)}{up}")
    fresh = not engine.origin.has_model()
    if fresh:
        lines.append(f"  - train a first model, merge it into main, and promote it to {changed}")
    lines += [
        f"  - score {DAY * (len(CALM) + len(DRIFTED_DAYS) + len(AFTER)):,} drawn faces in {last}",
        f"  - unpause the training in {last} for a while, and train a second model there, in full",
        f"  - merge that into main, and promote it to {changed}",
        f"On two cores this usually takes {'about 20' if fresh else 'about 15'} minutes. "
        "make clean removes all of it.",
    ]
    return lines


def require_unplayed(engine: Engine) -> None:
    """Check that the demo has not been completed.

    Raises:
        EngineError: The demo has been completed.

    """
    if any((episode := line.episodes.get("drift")) and episode.state == CLEARS for line in _record(engine)):
        raise EngineError("the demo is complete: its alarm has cleared", command="make clean")


def require_no_holds(state: ReleaseState, environments: Iterable[str]) -> None:
    """Check that each of `environments` takes promotions.

    Raises:
        EngineError: One of them is held.

    """
    for name in environments:
        if holds := state.present(name).holds():
            raise EngineError(
                f"{name} is held: {'; '.join(map(str, holds))}; lift the hold, and merge that",
                command=instructions.propose("unhold", name),
            )


def _record(engine: Engine) -> list[Line]:
    """Return the record of checks of the last environment."""
    return lines(engine.layout.paths_of(engine.names[-1]).data)[0]


class Demo(FirstRun):
    """The steps after `make up`. After an interruption, completed steps are skipped."""

    @staticmethod
    def titles(root: str, names: Sequence[str]) -> list[str]:
        """Return the titles of all steps, in order, as those of the first run."""
        last = names[-1]
        before = [_USUAL, _QUIET, _OTHER, _UNPAUSE.format(last), _RAISED, _LEARN, _SHOW, _AGAIN, _MERGE_IT]
        moves = [_MOVE_ON.format(name) for name in names if name != root]
        return [*FirstRun.titles(root, names), *before, *moves, _AFTER, _CLEARED]

    def play(self, *, seconds: float) -> None:
        """Run all steps. The training may take `seconds`.

        Raises:
            EngineError: A step fails or has an unexpected result.

        """
        require_unplayed(self._engine)
        record = _record(self._engine)
        before = next((line for line in record if "drift" in line.alarm and line.triggered), None)
        if before is None:
            before = self._raise_alarm()
        run = str(before.triggered)
        branch = candidate_branch(run)
        if branch not in self._origin.branches("candidate/"):
            self._learn(run, seconds)
        with self._screen.step(_SHOW) as step:
            step.done(self._improvement(branch, step))
        if not self._origin.merged(branch):
            branch = self._landable(branch)
        if not self._origin.merged(branch):
            with self._screen.step(_MERGE_IT) as step:
                self._gitops(["merge", branch], step)
        for environment in self._engine.names[1:]:
            self._move_on(environment, branch)
        with self._screen.step(_AFTER) as step:
            self._days("after", AFTER, CHANGE, step)
        with self._screen.step(_CLEARED) as step:
            after = self._check(step)
            self._expect(after, [], step)
            self._pause(MONITORING)
        self._print_result(before, after)

    def _raise_alarm(self) -> Line:
        """Score faces in different light, and return the line of the check that detects them."""
        data = self._layout.paths_of(self._last).data
        if not (data / "labels").exists():
            with self._screen.step(_USUAL) as step:
                self._days("calm", CALM, (), step, labelled=False)
            with self._screen.step(_QUIET) as step:
                self._expect(self._check(step), [], step)
        with self._screen.step(_OTHER) as step:
            self._days("drifted", DRIFTED_DAYS, CHANGE, step)
        with self._screen.step(_UNPAUSE.format(self._last)) as step:
            self._release_schedule(TRAINING, step)
        with self._screen.step(_RAISED) as step:
            line = self._check(step)
            self._expect(line, ["drift"], step)
        if line.triggered is None:
            raise EngineError(f"{self._last}: no training was started: {'; '.join(line.reasons)}")
        return line

    def _learn(self, run: str, seconds: float) -> None:
        with self._screen.step(_LEARN) as step:
            access, paths = self._access()[self._last], self._layout.paths_of(self._last)
            require = self._instance(self._last).require
            Training(access, paths, active=True, require=require).follow(run, step, seconds=seconds)
            self._pause(TRAINING)

    def _landable(self, branch: str) -> str:
        """Return the candidate to merge. If main has a newer model, dev trains a candidate on main.

        prod trains on its own release, which may be older than main.
        """
        repository = self._origin.repository
        head = repository.resolve(f"refs/heads/{branch}")
        _, conflicts = repository.merge_tree(repository.resolve(MAIN), head)
        if not conflicts:
            return branch
        with self._screen.step(_AGAIN) as step:
            self._gitops(["train", branch, "--on-main", "--wait"], step)
            inputs = repository.resolve(f"refs/heads/{branch_of(branch)}")
            for candidate in self._origin.branches("candidate/"):
                if repository.git("rev-parse", f"refs/heads/{candidate}^") == inputs:
                    step.done(candidate)
                    return candidate
        raise EngineError(f"{branch_of(branch)}: its training proposed no candidate")

    def _move_on(self, environment: str, branch: str) -> None:
        """Promote the merged candidate, unless that was done, and wait until it is verified."""
        with self._screen.step(_MOVE_ON.format(environment)) as step:
            present = self._state().present(environment).commit
            if present is None or not self._origin.repository.is_ancestor(f"refs/heads/{branch}", present):
                for before in self._engine.environments.chain(environment):
                    self._await_verdict(before, step)
                self._gitops(["promote", environment, "--push"], step)
                self._gitops(["merge", f"promote/{environment}"], step)
            self._await_verdict(environment, step)

    def _days(
        self, name: str, ago: tuple[int, ...], change: tuple[str, ...], step: Step, *, labelled: bool = True
    ) -> None:
        data = self._layout.paths_of(self._last).data
        batches = {
            f"demo-{name}-{number}": datetime.now(UTC).date() - timedelta(days=days)
            for number, days in enumerate(ago, start=1)
        }
        first = SEED + 100 * ["calm", "drifted", "after"].index(name)
        for seed, batch in enumerate(batches, start=first):
            if not _scores(data, batch) and not (data / "incoming" / batch).exists():
                self._bring(data, batch, ("--seed", str(seed), *change), step, labelled=labelled)
        for batch, day in batches.items():
            self._await(self._last, "score_faces", lambda batch=batch: _scored(data, batch), 600)
            _file_under(data, batch, day)
            step.say(f"{batch}: {DAY} images, filed under {day}")
        step.done(f"{DAY * len(ago)} images")

    def _bring(self, data: Path, batch: str, options: tuple[str, ...], step: Step, *, labelled: bool) -> None:
        """Put faces into the folder that `score_faces` watches, and their labels where monitoring looks."""
        commit = str(self._state().present(self._last).commit)
        drawn = data / f".{batch}"
        self._face_attributes(commit, ["draw", str(drawn), "--count", str(DAY), *options], step, seconds=600)
        if labelled:
            _move(drawn / "list_attr_celeba.txt", data / "labels" / f"{batch}.txt")
        _move(drawn / "img_align_celeba", data / "incoming" / batch)
        shutil.rmtree(drawn)

    def _check(self, step: Step) -> Line:
        """Run monitoring in the last environment, and return its line of the record."""
        self._release_schedule(MONITORING, step)
        with Runs(self._access()[self._last], timeout=30) as airflow:
            run = airflow.trigger(MONITORING)
            over = waiting.wait_until(
                lambda: airflow.run(MONITORING, run).state in ENDED, seconds=1200, pause=PAUSE
            )
            if not over:
                raise EngineError(f"{self._last}: {MONITORING} is still running after 20 minutes")
            if airflow.run(MONITORING, run).state != "success":
                raise EngineError(airflow.failure(MONITORING, run, self._layout.paths_of(self._last)))
        line = next(line for line in reversed(_record(self._engine)) if line.run_id == run)
        for reason in line.reasons:
            step.say(reason)
        for alarm, episode in line.episodes.items():
            if episode:
                step.say(f"the alarm {alarm} {episode.state}; its page: docs/runbooks/{alarm}.md")
        return line

    def _expect(self, line: Line, alarms: list[str], step: Step) -> None:
        missing = [alarm for alarm in alarms if alarm not in line.alarm]
        if missing or (not alarms and (line.alarm or not line.drift.enough_data)):
            raise EngineError(
                f"{self._last}: expected {', '.join(alarms) or 'no alarm'}, but got "
                f"{', '.join(line.alarm) or 'none'}; its evidence is in {line.evidence}"
            )
        step.done(f"alarms: {', '.join(line.alarm) or 'none'}")

    def _release_schedule(self, dag: str, step: Step) -> None:
        """Unpause a DAG, but delete the missed run that its schedule adds now."""
        with Runs(self._access()[self._last], timeout=30) as airflow:
            paused = next((one["is_paused"] for one in airflow.dags() if one["dag_id"] == dag), None)
            if paused is None:
                raise EngineError(f"{self._last}: has no DAG {dag}")
            if not paused:
                return
            airflow.unpause(dag)

            def due() -> str | None:
                runs = [run for run in airflow.recent(dag) if run.id.startswith("scheduled__")]
                return next((run.id for run in runs if run.state not in ENDED), None)

            if missed := waiting.wait_until(due, seconds=_SCHEDULE_DELAY, pause=1):
                # A deleted run would be added again, because the schedule counts from the last existing run.
                airflow.settle(dag, missed)
                step.say(f"{dag}: ended {missed}, which is not part of the demo")

    def _pause(self, dag: str) -> None:
        with Runs(self._access()[self._last], timeout=30) as airflow:
            airflow.pause(dag, True)

    def _improvement(self, branch: str, step: Step) -> str:
        """Show the message of the candidate, and return its accuracy on the drifted images."""
        repository = self._origin.repository
        for line in repository.git("show", "--no-patch", "--format=%B", branch).splitlines():
            if line:
                step.say(line)
        comparison = drift_comparison.of_commit(repository, branch, Snapshot.load(repository, branch).model)
        if comparison is None:
            raise EngineError(
                f"{branch}: {drift_comparison.PATH} belongs to another model: no drifted image was learnt"
            )
        mean = comparison.mean_accuracy
        return f"{mean.incumbent:.2%} -> {mean.accuracy:.2%} on the drifted images"

    def _print_result(self, before: Line, after: Line) -> None:
        rows = []
        for title, line in (("before", before), ("after", after)):
            found = line.performance
            rows.append(
                f"{title:7} release {line.release[:12]}: accuracy {found.mean_accuracy:.2%} "
                f"({found.mean_accuracy_low:.2%} to {found.mean_accuracy_high:.2%}) on "
                f"{found.images} labelled images in different light"
            )
        for row in rows:
            self._screen.print(row)
        low, high = after.performance.mean_accuracy_low, before.performance.mean_accuracy_high
        if low is None or high is None or low <= high:
            raise EngineError("the new release is not significantly better on the drifted images")


def _scores(data: Path, batch: str) -> list[Path]:
    return sorted((data / "scores").glob(f"date=*/{batch}.parquet"))


def _scored(data: Path, batch: str) -> Path | None:
    """Return the scores of a batch once its images have left `incoming`, when its task is nearly over."""
    scores = _scores(data, batch)
    return scores[0] if scores and not (data / "incoming" / batch).exists() else None


def _file_under(data: Path, batch: str, day: date) -> None:
    (scores,) = _scores(data, batch)
    target = data / "scores" / f"date={day.isoformat()}" / scores.name
    if scores != target:
        _move(scores, target)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
