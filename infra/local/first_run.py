"""The first run: a model from raw images to the last environment, with the commands that a team uses."""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gitops.airflow.client import Access, load_access
from gitops.dvc import parameters
from gitops.paths import MAIN
from gitops.release import settings
from gitops.release.load import load_state
from gitops.release.state import ReleaseState
from infra.local import command, variables, waiting
from infra.local.engine import Engine
from infra.local.errors import EngineError
from infra.local.instance import Instance
from infra.local.process import INSTANCE, SERVICE, UP, belonging, end
from infra.local.screen import Screen, Step, listed, start_title
from infra.local.task import ENDED, Runs, Task
from infra.local.training import DAG, Training
from infra.local.variables import Address

T = TypeVar("T")

FIRST_BATCH = "first-faces"
BATCH_SIZE = 64
PAUSE = 2.0  # seconds between two checks of an environment
BATCH_SEED = 20
_RAW, _MERGE = "Raw images", "Merge the candidate into main"
_TRAIN, _PROMOTE = "Train a model in {}", "Promote to {}"
_WAIT, _SCORE = "Wait for {} to run and verify it", "Score new faces in {}"
_SECONDS_TO_START = 25
_USUAL = {_RAW: 28, _TRAIN: 150, _WAIT: 30, _SCORE: 10}
"""The seconds that each step took on two cores that nothing else used."""
_CODE = ("src", "params.yaml")
NETWORK = "model_training.train"
"""The last task that keeps all cores busy."""


class FirstRun:
    """The steps after the first environment is up. Completed steps are skipped.

    The other environments have nothing to run before there is a model. They start once the network is
    trained, while the other tasks of the training leave cores idle.
    """

    def __init__(self, engine: Engine, screen: Screen) -> None:
        self._engine = engine
        self._layout = engine.layout
        self._origin = engine.origin
        self._screen = screen
        self._environment = self._command_environment()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw raw images while the block starts an environment, with the time that it leaves.

        The step that draws continues from there.
        """
        # A make up that was killed may have left its own
        end(belonging(self._layout.state, UP))
        commit = self._state().tip
        data = self._data(commit)
        if self._origin.has_model() or self._candidates() or data["source"] != "synthetic":
            yield
            return
        arguments = self._draw(data["synthetic"])
        with self._code(commit) as (folder, environment):
            process = subprocess.Popen(
                ["nice", "-n", "10", sys.executable, "-m", "face_attributes", *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                yield
            finally:
                command.end(process)

    def run(self, *, seconds: float) -> None:
        """Take a model to the last environment. A training run may take `seconds`.

        Raises:
            EngineError: A step fails. The next run continues from there.

        """
        self._train(seconds)
        self.start_rest()
        for environment in self._engine.names[1:]:
            self._promote(environment)
        self._score()

    @staticmethod
    def rest(names: Sequence[str]) -> list[str]:
        """Return the title of the step that starts the environments after the first one, if there are any."""
        return [start_title(names[1:])] if names[1:] else []

    def start_rest(self) -> None:
        """Start the environments after the first one.

        Raises:
            EngineError: An Airflow does not start.

        """
        for title in self.rest(self._engine.names):
            with self._screen.step(title) as step:
                self._engine.start(self._engine.names[1:], step)

    @staticmethod
    def titles(root: str, names: Sequence[str]) -> list[str]:
        """Return the titles of all steps, in order.

        Args:
            root: The environment that follows main.
            names: The started environments.

        """
        pairs = [(_PROMOTE.format(name), _WAIT.format(name)) for name in names if name != root]
        trained = [_RAW, _TRAIN.format(root), _MERGE, *FirstRun.rest(names), _WAIT.format(root)]
        return [*trained, *itertools.chain(*pairs), _SCORE.format(names[-1])]

    @staticmethod
    def usual(root: str, names: Sequence[str]) -> dict[str, float]:
        """Return the seconds that the long steps of a first run usually take, by their titles.

        Args:
            root: The environment that follows main.
            names: The started environments.

        """
        steps = {title.format(name): seconds for title, seconds in _USUAL.items() for name in (root, *names)}
        return {start_title(names[:1]): _SECONDS_TO_START, **steps}

    def _state(self) -> ReleaseState:
        return load_state(self._origin.repository)

    def _access(self) -> dict[str, Access]:
        return load_access(self._layout.access)

    def _draw_raw_images(self, step: Step) -> None:
        commit = self._state().tip
        data = self._data(commit)
        if data["source"] != "synthetic":
            step.done(_celeba_folder(self._engine))
            return
        arguments = self._draw(data["synthetic"])
        folder = Path(arguments[1])
        try:
            self._face_attributes(commit, arguments, step, seconds=4 * 3600)
        except EngineError:
            if not folder.is_dir() or not any(folder.iterdir()):
                raise
            step.say("the parameters changed: drawing again")
            shutil.rmtree(folder)
            self._face_attributes(commit, arguments, step, seconds=4 * 3600)
        faces = data["synthetic"]["count"] + data["synthetic"].get("held_out", 0)
        step.done(f"{faces} drawn faces in {folder}")

    def _draw(self, synthetic: Mapping[str, Any]) -> list[str]:
        """Return the command that draws the raw images; its second word is their folder."""
        folder = self._layout.paths_of(self._root).data / "raw"
        return ["draw", str(folder), *_drawing_options(synthetic)]

    def _train(self, seconds: float) -> None:
        training = self._training()
        if self._origin.has_model():
            training.settle()
            return
        candidate = next((branch for branch in self._candidates() if self._is_current(branch)), None)
        if candidate is None:
            with self._screen.step(_RAW) as step:
                self._draw_raw_images(step)
            with self._screen.step(_TRAIN.format(self._root)) as step:
                candidate = self._candidate(training, step, seconds)
                step.done(candidate)
        with self._screen.step(_MERGE) as step:
            self._gitops(["merge", candidate], step)

    def _training(self) -> Training:
        root = self._root
        if root not in self._engine.names:
            raise EngineError(
                f"{root}: not started, and models are trained there; add it to {variables.CHOSEN}"
            )
        active = settings.load(root, self._layout.checkout).active_dags
        require = self._instance(root).require
        return Training(
            self._access()[root], self._layout.paths_of(root), active=DAG in active, require=require
        )

    @property
    def _root(self) -> str:
        """The environment that follows main, where models are trained."""
        return self._engine.environments.root

    @property
    def _last(self) -> str:
        """The last started environment, where faces are scored."""
        return self._engine.names[-1]

    def _instance(self, environment: str) -> Instance:
        """Return an environment's Airflow, to check whether it is up."""
        return Instance(self._layout, environment, Address("", 0))

    def _candidate(self, training: Training, step: Step, seconds: float) -> str:
        """Return the branch of a new candidate."""
        training.await_dag()
        run = training.in_flight()
        if run is not None:
            step.say(f"run {run.id} in progress: following it")
            name = run.id
        else:
            last = training.last()
            if last is not None and last.state == "failed":
                step.say(f"run {last.id} failed: starting another")
            name = training.start()
            step.say(f"started run {name}; watch it at {self._access()[self._root].web}")

        def launch_rest(tasks: list[Task]) -> None:
            if any(task.name == NETWORK and task.state == "success" for task in tasks):
                self._engine.launch(self._engine.names[1:], step.say)

        training.follow(name, step, seconds=seconds, beside=launch_rest)
        proposed = next(iter(self._candidates()), None)
        if proposed is None:
            raise EngineError(f"{name} proposed no candidate; see the log of its task propose_candidate")
        return proposed

    def _candidates(self) -> list[str]:
        """Return the unmerged candidates, latest first."""
        return [branch for branch in self._origin.branches("candidate/") if not self._origin.merged(branch)]

    def _is_current(self, candidate: str) -> bool:
        """Whether a candidate was trained from a release that is identical to the current `main`."""
        repository = self._origin.repository
        return self._state().same(repository.resolve(f"{candidate}^"), repository.resolve(MAIN))

    def _promote(self, environment: str) -> None:
        title = _PROMOTE.format(environment)
        before_it = self._engine.environments.chain(environment)
        if absent := [name for name in before_it if name not in self._engine.names]:
            with self._screen.step(title) as step:
                step.done(f"left out: {listed(absent)} must verify it first, and is not started")
            return
        if self._state().present(environment).commit is None:
            for before in before_it:
                self._await_release(before)
            with self._screen.step(title) as step:
                self._gitops(["promote", environment, "--push"], step)
                self._gitops(["merge", f"promote/{environment}"], step)
        self._await_release(environment)

    def _await_release(self, environment: str) -> None:
        """Wait for an environment's verdict on its release, if it has none."""
        state = self._state()
        if state.verdicts.verified(environment, state.declared(environment).commit):
            return
        with self._screen.step(_WAIT.format(environment)) as step:
            self._await_verdict(environment, step)

    def _await_verdict(self, environment: str, step: Step, seconds: float = 900) -> None:
        commit = self._state().declared(environment).commit

        def verdict() -> str | None:
            verdicts = self._state().verdicts
            if rejected := verdicts.rejected(environment, commit):
                reason = rejected.message.splitlines()[0]
                raise EngineError(f"{environment} rejected the release: {reason} (tag {rejected.name})")
            tag = verdicts.verified(environment, commit)
            return tag.message.splitlines()[0] if tag else None

        step.done(self._await(environment, "verify_release", verdict, seconds))

    def _await(self, environment: str, dag: str, check: Callable[[], T | None], seconds: float) -> T:
        """Wait for a run of `dag` in `environment`, and return the result of `check`.

        Raises:
            EngineError: The run fails, or `check` has no result in time.

        """
        access = self._access()[environment]
        instance = self._instance(environment)
        with Runs(access, timeout=30) as airflow:
            before = {run.id for run in airflow.recent(dag) if run.state in ENDED}

            def checked() -> T | None:
                if found := check():
                    return found
                instance.require()
                for run in airflow.recent(dag):
                    if run.state == "failed" and run.id not in before:
                        failure = airflow.failure(dag, run.id, self._layout.paths_of(environment))
                        raise EngineError(f"{environment}: {failure}")
                return None

            found = waiting.wait_until(checked, seconds=seconds, pause=PAUSE)
        if found is None:
            raise EngineError(f"{environment}: {dag} had no result in {seconds:.0f} s; see {access.web}")
        return found

    def _score(self) -> None:
        environment = self._last
        data = self._layout.paths_of(environment).data
        state = self._state()
        follows = state.environments.follows(environment)
        commit = state.tip if follows else state.present(environment).commit
        if commit is None or any((data / "scores").rglob("*.parquet")):
            return
        with self._screen.step(_SCORE.format(environment)) as step:
            incoming = data / "incoming" / FIRST_BATCH
            if not incoming.exists():
                self._deliver(commit, incoming, step)

            def scores() -> Path | None:
                return next((data / "scores").rglob(f"{FIRST_BATCH}.parquet"), None)

            found = self._await(environment, "score_faces", scores, 600)
            step.done(f"{_rows(found)} images: {found}")

    def _deliver(self, commit: str, incoming: Path, step: Step) -> None:
        """Move a batch of new faces into the folder that `score_faces` watches, atomically."""
        incoming.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".arriving-", dir=incoming.parent) as folder:
            faces = Path(folder) / "faces"
            options = ["--count", str(BATCH_SIZE), "--seed", str(BATCH_SEED)]
            self._face_attributes(commit, ["draw", str(faces), *options], step, seconds=600)
            (faces / "img_align_celeba").rename(incoming)

    def _data(self, commit: str) -> Mapping[str, Any]:
        """Return the section `data` of the parameters of a commit."""
        repository = self._origin.repository
        try:
            data = parameters.read(repository.read(commit, "params.yaml") or b"")["data"]
            schema = repository.read(commit, parameters.SCHEMA)
            known = parameters.sources(parameters.load_schema(schema)) if schema else []
            data = parameters.for_source(data, data["source"], known)
            if data["source"] == "synthetic":
                _drawing_options(data["synthetic"])
        except (parameters.FaultError, AttributeError, KeyError, TypeError) as error:
            raise EngineError(
                f"params.yaml: not valid in {commit[:12]} on main of visage; see .venv/bin/gitops check"
            ) from error
        return dict(data)

    def _face_attributes(self, commit: str, arguments: list[str], step: Step, *, seconds: float) -> None:
        """Run the command line of the release `commit`, which may differ from the checkout."""
        with self._code(commit) as (folder, environment):
            command.run(
                [sys.executable, "-m", "face_attributes", *arguments],
                step,
                folder=folder,
                environment=environment,
                shown=" ".join(["python -m face_attributes", *arguments]),
                seconds=seconds,
                transient=True,
            )

    @contextmanager
    def _code(self, commit: str) -> Iterator[tuple[Path, Mapping[str, str]]]:
        """Yield a folder with the model code of a commit, and the variables with which it runs."""
        with tempfile.TemporaryDirectory(prefix="visage-") as name:
            folder = Path(name)
            self._origin.unpack(commit, folder, *_CODE)
            yield folder, {**self._environment, "PYTHONPATH": str(folder / "src")}

    def _gitops(self, arguments: list[str], step: Step) -> None:
        command.run(
            [sys.executable, "-m", "gitops", *arguments],
            step,
            folder=self._layout.checkout,
            environment=self._environment,
            shown=" ".join(["gitops", *arguments]),
        )

    def _command_environment(self) -> Mapping[str, str]:
        """Return the variables of the commands: the user's git settings, and the engine's DVC remote."""
        user_config = {key: value for key, value in os.environ.items() if key.startswith("GIT_")}
        return {
            **variables.inherit(self._engine.shell),
            **user_config,
            "DVC_GLOBAL_CONFIG_DIR": str(self._layout.dvc_config),
            "DVC_SITE_CACHE_DIR": str(self._layout.dvc_site_cache),
            "DVC_NO_ANALYTICS": "1",
            "GITOPS_REMOTE": "visage",
            "GITOPS_ACCESS": str(self._layout.access),
            "PYTHONUNBUFFERED": "1",
            # The marks let make down find the processes of a killed make up.
            INSTANCE: str(self._layout.state),
            SERVICE: UP,
            "COLUMNS": "110",
        }


def _drawing_options(synthetic: Mapping[str, Any]) -> list[str]:
    """Return the options of `draw` for the faces of params.yaml."""
    options = []
    for key, value in synthetic.items():
        if key == "marginals":
            options += [
                part for name, share in (value or {}).items() for part in ("--marginal", f"{name}={share}")
            ]
        else:
            options += [f"--{key.replace('_', '-')}", str(value)]
    return options


def _celeba_folder(engine: Engine) -> str:
    folder = engine.user_config.shell.get("CELEBA_DIR") or engine.user_config.file.get("CELEBA_DIR")
    if not folder:
        raise EngineError("CELEBA_DIR: not set, and params.yaml: data.source is celeba; set it in .env")
    # Archives of CelebA have the lists at the top or in folders.
    places = (Path(folder), Path(folder) / "Anno", Path(folder) / "Eval")
    if not any(any(paths.glob("list_attr_celeba.*")) for paths in places):
        raise EngineError(
            f"CELEBA_DIR: {folder} has no list_attr_celeba.txt; set the folder with CelebA's files"
        )
    return folder


def _rows(path: Path) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(path).num_rows)
