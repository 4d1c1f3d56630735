"""Releases, environments and a backup with photographs of three people, by real git and real DVC."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from drawn_faces import SyntheticParams
from face_attributes.data import images
from face_attributes.data.drawn_folder import draw_folder
from face_attributes.evaluation.columns import digests
from tests.support.figures import model_files
from tests.support.lab import ROOT, Lab

PIPELINE = """stages:
  collect:
    cmd: python -m face_attributes collect
    params: [data]
    deps: [data/forgotten.json]
    outs: [data/raw, data/people.csv]
  prepare:
    cmd: python -m face_attributes prepare
    params: [prepare]
    deps: [data/labelled, data/raw]
    outs: [data/prepared, data/holdout.parquet, data/sample.parquet]
  export:
    cmd: mkdir -p models && cp name models/model.onnx
    deps: [name]
    outs: [models/model.onnx]
  evaluate:
    cmd: mkdir -p plots && head -c 20000 data/holdout.parquet > plots/worst_errors.jpg
    deps: [data/holdout.parquet]
    outs: [plots/worst_errors.jpg]
"""
BATCH = "dev-2026-01-06"
ENVIRONMENTS = ("dev", "staging", "prod")


@dataclass(frozen=True)
class World:
    """The folders: `lab` is git, `store` the DVC remote; every environment has a data folder in `homes`."""

    folder: Path

    @property
    def lab(self) -> Lab:
        made = object.__new__(Lab)
        from gitops.git.repository import Repository

        made.origin = Repository(self.folder / "lab" / "origin.git")
        made.clone = Repository(self.folder / "lab" / "clone")
        made.keys = self.folder / "lab" / "keys"
        return made

    @property
    def checkout(self) -> Path:
        return self.folder / "lab" / "clone"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    @property
    def ids(self) -> Path:
        return self.folder / "ids.txt"

    def home(self, environment: str) -> Path:
        return self.folder / "homes" / environment

    def releases(self) -> dict[str, str]:
        return json.loads((self.folder / "releases.json").read_text())

    def people(self) -> dict[str, list[bytes]]:
        """The files of the photographs of each person; of the first one two, which look the same."""
        pictures = self.folder / "people"
        return {
            name: [path.read_bytes() for path in sorted(pictures.glob(f"{name}-*.jpg"))]
            for name in ("anna", "bert", "cleo")
        }

    def command(self) -> list[str]:
        """The command that forgets all three."""
        homes = [option for name in ENVIRONMENTS for option in ("--home", f"{name}={self.home(name)}")]
        return ["forget", "--ids", str(self.ids), *homes, "--backup", str(self.backup)]

    def variables(self) -> dict[str, str]:
        config = self.folder / "dvc-config"
        return os.environ | {
            "CELEBA_DIR": str(self.source),
            "DVC_GLOBAL_CONFIG_DIR": str(config),
            "DVC_SITE_CACHE_DIR": str(self.folder / "dvc-site"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=self.checkout,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def configure(self) -> None:
        """Let DVC use the store of this folder."""
        config = self.folder / "dvc-config" / "config"
        config.parent.mkdir(exist_ok=True)
        config.write_text(
            f"[core]\nremote = storage\nanalytics = false\n['remote \"storage\"']\nurl = {self.store}\n"
        )

    def holders(self, contents: list[bytes]) -> list[str]:
        """Return every file, objects of git aside, that has the bytes of one of some photographs."""
        beginnings = [content[len(content) // 2 : len(content) // 2 + 64] for content in contents]
        outside = (self.source, self.folder / "people")
        return sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file()
            and not path.is_symlink()
            and not any(path.is_relative_to(folder) for folder in outside)
            and any(beginning in path.read_bytes() for beginning in beginnings)
        )


def make(folder: Path) -> None:
    """Make the world: releases zero, one (with Anna), two (with Bert in a labelled batch), and an archive."""
    world = World(folder)
    lab = Lab(folder / "lab")
    world.store.mkdir()
    world.configure()
    draw_folder(SyntheticParams(count=60, seed=11), world.source)
    pictures = world.source / "img_align_celeba"
    faces = folder / "faces"
    draw_folder(SyntheticParams(count=22, seed=12), faces)
    drawn = sorted((faces / "img_align_celeba").iterdir())
    people = folder / "people"
    people.mkdir()
    shutil.copy(drawn[0], people / "anna-1.jpg")
    face = cv2.imread(str(drawn[0]))
    assert face is not None
    cv2.imwrite(str(people / "anna-2.jpg"), face[:, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])
    shutil.copy(drawn[1], people / "cleo-1.jpg")
    clone = lab.clone
    clone.git("checkout", "--quiet", "-B", "work", "origin/main")
    for path, content in {
        "dvc.yaml": PIPELINE,
        "params.yaml": _params(),
        "data/.gitignore": (ROOT / "data/.gitignore").read_text(),
        "data/labelled/.gitignore": "/*.parquet\n",
        ".gitignore": ".visage/\n",
        "models/.gitignore": "/model.onnx\n",
        "plots/.gitignore": "/worst_errors.jpg\n",
        "data/forgotten.json": (ROOT / "data/forgotten.json").read_text(),
    }.items():
        (world.checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (world.checkout / path).write_text(content)
    # The stages run isolated, with the code of their checkout alone
    for name in ("face_attributes", "drawn_faces"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        source = world.checkout / "src" / name
        shutil.copytree(ROOT / "src" / name, source, ignore=ignored, dirs_exist_ok=True)
    world.run("dvc", "init", "--quiet")
    releases = {"zero": _release(world, lab, "zero")}
    listed = world.source / "list_attr_celeba.txt"
    count, names, *rows = listed.read_text().splitlines()
    more = []
    for number, name in ((61, "anna-1.jpg"), (62, "anna-2.jpg")):
        shutil.copy(people / name, pictures / f"{number:06d}.jpg")
        more.append(f"{number:06d}.jpg {rows[0].split(maxsplit=1)[1]}")
    listed.write_text("\n".join([str(int(count) + 2), names, *rows, *more]) + "\n")
    for name, of_others in (("list_eval_partition.txt", "2"), ("identity_CelebA.txt", "anna")):
        if (path := world.source / name).is_file():
            path.write_text(
                path.read_text() + "".join(f"{number:06d}.jpg {of_others}\n" for number in (61, 62))
            )
    clone.git("checkout", "--quiet", "-b", "archived")
    (world.checkout / "params.yaml").write_text(_params(61))
    archived = _release(world, lab, "archived", main=False)
    lab.clone.git("push", "--quiet", "origin", f"{archived}:refs/tags/archive/run")
    clone.git("checkout", "--quiet", "work")
    releases["one"] = _release(world, lab, "one")
    bert = drawn[4]
    shutil.copy(bert, people / "bert-1.jpg")
    world.run(sys.executable, "-m", "face_attributes", "append", str(faces), "--name", BATCH)
    releases["two"] = _release(world, lab, "two", BATCH)
    shutil.rmtree(faces)
    (folder / "releases.json").write_text(json.dumps(releases))
    for environment, ran in (("staging", ("zero", "one", "two")), ("prod", ("zero", "one"))):
        for name in ran:
            lab.declare(environment, f"commit: {releases[name]}\n")
            lab.verify(environment, releases[name])
    _homes(world, bert.name)
    world.ids.write_text(f"# three people\n000061.jpg\n{BATCH}/{bert.name}\n{people / 'cleo-1.jpg'}\n")
    clone.git("checkout", "--quiet", "--detach")
    clone.git("fetch", "--quiet", "origin")


def _params(most: int | None = None) -> str:
    text = (ROOT / "params.yaml").read_text().replace("source: synthetic", "source: celeba", 1)
    text = text.replace("sample: 2000", "sample: 20", 1)
    from drawn_faces import DRAWN_ATTRIBUTES

    text = text.replace("attributes: null", f"attributes: {list(DRAWN_ATTRIBUTES)}", 1)
    return text.replace("max_images: null", f"max_images: {most}", 1) if most else text


def _release(world: World, lab: Lab, name: str, *batches: str, main: bool = True) -> str:
    (world.checkout / "name").write_text(name)
    force = ["--force"] if name != "two" else []
    world.run("dvc", "repro", *force, *([] if main else ["collect"]))
    world.run("dvc", "push", "--quiet", *(f"data/labelled/{batch}.parquet.dvc" for batch in batches))
    if batches:
        world.run("dvc", "push", "--quiet")
    if main:
        for path, content in model_files(name).items():
            if path != "dvc.lock":
                (world.checkout / path).parent.mkdir(parents=True, exist_ok=True)
                (world.checkout / path).write_bytes(content)
    clone = lab.clone
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--no-verify", "--message", f"Model {name}", env=clone.identity())
    commit = clone.resolve("HEAD")
    if main:
        clone.git("push", "--quiet", "origin", "HEAD:main")
        lab.verify("dev", commit)
    return commit


def _homes(world: World, bert: str) -> None:
    people = world.people()
    for environment in ENVIRONMENTS:
        home = world.home(environment)
        for path, content in {
            "scored/upload/me.jpg": people["anna"][1],
            "scored/upload/other.jpg": images.encode(np.full((218, 178, 3), 90, np.uint8)),
            "incoming/new/cleo.jpg": people["cleo"][0],
            f"labelled/{BATCH}/{bert}": people["bert"][0],
        }.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_bytes(content)
        (home / f"labelled/{BATCH}/list_attr_celeba.csv").write_text(f"image_id,Smiling\n{bert},1\n")
        (home / "labels").mkdir()
        (home / "labels/upload.csv").write_text("image_id,Smiling\nme.jpg,1\nother.jpg,1\n")
        scores = home / "scores/date=2026-01-07/upload.parquet"
        scores.parent.mkdir(parents=True)
        pixels = np.stack([images.decode(people["anna"][1]), np.zeros((218, 178, 3), np.uint8)])
        table = pa.table(
            {
                "id": ["me.jpg", "other.jpg"],
                "Smiling": [True, True],
                "Smiling_score": np.ones(2, np.float32),
                "digest": pa.array(digests(pixels), pa.binary(16)),
            }
        )
        about = {"model_sha256": "0" * 64, "release": "", "quarantined": "{}"}
        pq.write_table(table.replace_schema_metadata(about), scores)
        run = home / "runs/manual/plots"
        run.mkdir(parents=True)
        shutil.copy(world.checkout / "plots/worst_errors.jpg", run / "worst_errors.jpg")
    world.backup.mkdir()
    for name, path in (("home.tar", world.home("prod")), ("store.tar", world.store)):
        with tarfile.open(world.backup / name, "w") as archive:
            archive.add(path, ".")
    sums = [
        f"{hashlib.sha256((world.backup / name).read_bytes()).hexdigest()}  {name}"
        for name in ("home.tar", "store.tar")
    ]
    (world.backup / "SHA256SUMS").write_text("\n".join(sums) + "\n")
