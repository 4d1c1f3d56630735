"""The places in which the blocks of the pages run, and how a page is walked: in one shell, as by a reader."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local import port
from tests.docs.pages import ROOT, Block
from tests.support.command import captured

PORTS = ("VISAGE_DEV_PORT", "VISAGE_STAGING_PORT", "VISAGE_PROD_PORT")
_PERSON = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Reader"), ("EMAIL", "reader@example.org"))
}


class BlockError(AssertionError):
    """A block did not do what its page says."""


@dataclass(frozen=True)
class Place:
    """A folder, and the variables of a shell in it."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def walk(self, blocks: Sequence[Block], *, seconds: float) -> str:
        """Run the blocks in one shell, one after the other, and return what they printed.

        A block that is a DAG is saved in dags/, as the page asks for.

        :raises BlockError: naming the block that failed, with the last that it said.
        """
        script = ["set -euo pipefail"]
        for block in blocks:
            script += [f"printf '%s\\n' '--- {block}'", _typed(block)]
        with tempfile.TemporaryFile() as output:
            # Into a file: what a block leaves running would keep a pipe open.
            shell = subprocess.Popen(
                ["bash", "-c", "\n".join(script)],
                cwd=self.folder,
                env={**os.environ, **_PERSON, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                result = f"exit status {shell.wait(timeout=seconds)}"
            except subprocess.TimeoutExpired:
                result = f"no end within {seconds:.0f} s"
            finally:
                if shell.poll() is None:
                    os.killpg(shell.pid, signal.SIGKILL)
                    shell.wait()
            output.seek(0)
            said = output.read().decode(errors="replace")
        if shell.returncode != 0:
            reached = [block for block in blocks if f"--- {block}\n" in said]
            raise BlockError(f"{reached[-1] if reached else blocks[0]}: {result}\n{said[-3000:]}")
        return said


def clone(folder: Path) -> Place:
    """A clone with what is not committed yet as a second commit, and a .venv that is this one."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], timeout=60, check=True)
    changed = _git(ROOT, "ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard")
    changed += _git(ROOT, "diff", "--name-only", "-z", "--cached")
    for name in set(filter(None, changed.split("\0"))):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            target.unlink(missing_ok=True)
    variables = os.environ | _PERSON
    subprocess.run(["git", "add", "--all"], cwd=folder, env=variables, timeout=60, check=True)
    subprocess.run(
        ["git", "commit", "--quiet", "--no-verify", "--allow-empty", "--message", "As it is now"],
        cwd=folder,
        env=variables,
        timeout=60,
        check=True,
    )
    (folder / ".venv").symlink_to(sys.prefix)
    # What is ignored is a folder of that name, not a link.
    (folder / ".git/info/exclude").write_text(".venv\n")
    stamp = Path(sys.prefix) / ".installed"
    assert stamp.exists(), f"{stamp}: missing; run make setup"
    keep_installed(folder)
    path = os.pathsep.join([str(folder / ".venv/bin"), os.environ.get("PATH", os.defpath)])
    return Place(folder, {"PATH": path})


def keep_installed(folder: Path) -> None:
    """Let make see nothing to install: it would install the clone into the .venv of this checkout.

    To be called again after git has written the files anew, as `git reset --hard` does.
    """
    for path in (
        folder / "infra/uv.txt",
        folder / "requirements.lock",
        folder / "pyproject.toml",
        *folder.glob("src/*/pyproject.toml"),
    ):
        os.utime(path, (0, 0))


def engine(folder: Path) -> Place:
    """A clone whose three Airflows are up, on ports of their own, without a model."""
    made = clone(folder)
    place = Place(folder, {**made.variables, **{name: str(port.unused()) for name in PORTS}})
    command = Block(
        Path("tests/docs/places.py"), 0, "sh", ".venv/bin/python -m infra.local up --no-first-run", ""
    )
    try:
        place.walk([command], seconds=600)
    except BaseException:
        down(made)
        raise
    return place


def down(place: Place) -> None:
    """Stop what runs there."""
    subprocess.run(
        [".venv/bin/python", "-m", "infra.local", "down"], cwd=place.folder, timeout=300, check=True
    )


def _typed(block: Block) -> str:
    if not block.mark.startswith("dag:"):
        return block.text
    name = block.mark.removeprefix("dag:").strip()
    return f"cat > dags/{name} <<'END OF THE DAG'\n{block.text}END OF THE DAG"


def _git(folder: Path, *arguments: str) -> str:
    return captured(["git", *arguments], cwd=folder, check=True).stdout
