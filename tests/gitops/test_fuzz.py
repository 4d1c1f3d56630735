"""The readers under a fuzzer that follows the code: ten minutes each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gitops.fuzz import READERS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "600"))
CORPUS = {
    "release": "environments/prod/release.yaml",
    "environment": "environments/prod/environment.yaml",
    "settings": "environments/prod/settings.env",
    "parameters": "params.yaml",
    "parameters_shown": "params.yaml",
    "parameters_schema": "schemas/params.schema.json",
    "lock": "dvc.yaml",
    "yaml": "dvc.yaml",
    "pins": "infra/uv.txt",
}

pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS + 300)]


@pytest.fixture(scope="module")
def atheris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the fuzzer for these tests alone: it exists for few kinds of machines."""
    folder = tmp_path_factory.mktemp("atheris")
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "install", "--quiet", "--require-hashes", "--target", folder]
    subprocess.run([*command, "--requirements", ROOT / "tests/gitops/fuzz.txt"], check=True, timeout=300)
    return folder


@pytest.mark.parametrize("name", READERS)
def test_no_input_breaks_a_reader(atheris: Path, tmp_path: Path, name: str) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    if name in CORPUS:
        (corpus / "seed").write_bytes((ROOT / CORPUS[name]).read_bytes()[:16_000])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.gitops.fuzz_atheris", name, str(corpus)),
            *(f"-max_total_time={SECONDS}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=20000"),
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(atheris), str(ROOT), str(ROOT / "dags")])},
        capture_output=True,
        text=True,
        timeout=SECONDS + 200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr, "the fuzzer has run to its end"
