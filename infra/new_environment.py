"""Create an environment: `python -m infra.new_environment NAME --after NAME`, or `make new-environment`."""

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, ClassVar, get_args

import typer

from gitops.release import environments, settings
from gitops.release.environments import Color, Environment, Environments
from gitops.release.file import Release, render
from gitops.release.settings import Settings
from gitops.text.command_line import Command
from infra.local import files

CHECKOUT = Path(__file__).resolve().parents[1]

_SHADES = {
    # Lightness and chroma of a blue that is readable on light and dark pages
    50: (0.97, 0.014),
    100: (0.932, 0.032),
    200: (0.882, 0.059),
    300: (0.809, 0.105),
    400: (0.707, 0.165),
    500: (0.623, 0.214),
    600: (0.546, 0.245),
    700: (0.488, 0.243),
    800: (0.424, 0.199),
    900: (0.379, 0.146),
    950: (0.282, 0.091),
}
_HUES: Mapping[Color, tuple[int, float]] = {
    # Hue in degrees, and the share of the chroma that a screen can show at that hue
    "teal": (183, 0.55),
    "cyan": (212, 0.6),
    "sky": (240, 0.75),
    "blue": (260, 1),
    "indigo": (277, 1),
    "violet": (293, 1),
    "fuchsia": (322, 1),
    "slate": (257, 0.18),
}


class NewEnvironmentError(Exception):
    """The environment cannot be created. The user reads the message."""


def theme(color: Color) -> str:
    """Return the value of AIRFLOW__API__THEME for a colour."""
    hue, share = _HUES[color]
    brand = {
        str(shade): {"value": f"oklch({lightness} {round(chroma * share, 3)} {hue})"}
        for shade, (lightness, chroma) in _SHADES.items()
    }
    return json.dumps({"tokens": {"colors": {"brand": brand}}}, separators=(",", ":"))


def make(checkout: Path, name: str, after: list[str], wave: str, title: str) -> dict[str, str]:
    """Return the files of a new environment, by their paths in the checkout.

    Settings and overlay are copied from an environment that receives promotions, with a new name, port and
    colour.

    Args:
        checkout: The checkout.
        name: The name of the environment.
        after: The environments that must verify a release before it is promoted into this environment.
        wave: The wave, or "" for a new wave.
        title: The title, or "" for the capitalized name.

    Raises:
        NewEnvironmentError: The name exists, or there is no environment to copy settings from.
        GitopsError: The name, the wave or an environment before it is not valid.

    """
    if not name or not after:
        raise NewEnvironmentError("set name and predecessors: make new-environment NAME=qa AFTER=dev")
    environments.check_name(name)
    known = Environments.from_folder(checkout)
    if name in known or (checkout / environments.FOLDER / name).exists():
        raise NewEnvironmentError(f"{name}: {environments.FOLDER}/{name} already exists; choose another name")
    spoken = name.upper() if len(name) <= 3 else name.replace("-", " ").capitalize()
    declared = _declare(known, name, after, wave or name, title or spoken)
    model = next((one for one in after if not known.follows(one)), next(iter(known.promotable), known.root))
    ports = [settings.load(one, checkout).web_port for one in known]
    folder = f"{environments.FOLDER}/{name}"
    made = {
        f"{folder}/{environments.FILE}": _environment_file(declared),
        f"{folder}/release.yaml": render(Release(commit=None), name).decode(),
        f"{folder}/settings.env": settings_like(
            (checkout / settings.path_of(model)).read_text("utf-8"), known[model], declared, max(ports) + 1
        ),
        f"{folder}/kustomization.yaml": _overlay(checkout, model, name, max(ports) + 1),
    }
    environments.read(made[f"{folder}/{environments.FILE}"].encode(), name)
    Settings.from_file(made[f"{folder}/settings.env"].encode(), name)
    return made


def write(checkout: Path, content: Mapping[str, str]) -> None:
    """Write all files below `checkout`, or no file.

    Raises:
        NewEnvironmentError: A file cannot be written.

    """
    with ExitStack() as undo:
        for path, text in content.items():
            undo.callback((checkout / path).unlink, missing_ok=True)
            try:
                files.write(checkout / path, text)
                (checkout / path).chmod(0o644)
            except OSError as error:
                raise NewEnvironmentError(f"{path}: {error.strerror}; nothing was written") from error
        undo.pop_all()


def _declare(known: Environments, name: str, after: list[str], wave: str, title: str) -> Environment:
    """Return the environment with the first unused colour, or its wave's colour if all are used."""
    taken = {environment.color for environment in known.all}
    shared: list[Color] = [known[one].color for one in known.waves.get(wave, ())]
    free: list[Color] = [color for color in get_args(Color) if color not in taken]
    choice: list[Color] = [*free, *shared]
    color = next(iter(choice), None)
    if color is None:
        raise NewEnvironmentError(
            f"{name}: all colours are used; set the wave of an existing environment with WAVE="
        )
    declared = Environment(name, title, color, tuple(after), wave)
    Environments.from_entries((*known.all, declared))
    return declared


def _environment_file(environment: Environment) -> str:
    return (
        "# yaml-language-server: $schema=../../schemas/environment.schema.json\n"
        "# Which environments a release passes before this one; docs/environments.md\n"
        f"title: {json.dumps(environment.title, ensure_ascii=False)}\n"
        f"color: {environment.color}\n"
        f"after: [{', '.join(environment.after)}]\n"
        f"wave: {environment.wave}\n"
    )


def settings_like(text: str, model: Environment, environment: Environment, port: int, **extra: str) -> str:
    """Return the settings of a new environment.

    Args:
        text: The settings of another environment.
        model: That environment.
        environment: The new environment.
        port: The port of its web interface.
        extra: Other values that it gets.

    """
    name = environment.name
    values = {
        "VISAGE_ENVIRONMENT": name,
        "WEB_HOST": f"{name}.localhost",
        "WEB_PORT": str(port),
        "SERVING_PORT": str(port + 100),
        "DEFAULT_PASSWORD": "",
        "AIRFLOW__API__INSTANCE_NAME": f"Visage {name}",
        "AIRFLOW__API__THEME": theme(environment.color),
        **extra,
    }
    for key, value in values.items():
        text = re.sub(rf"^{key}=.*$", lambda _, line=f"{key}={value}": line, text, flags=re.MULTILINE)
    text = text.replace(f'"environment":"{model.name}"', f'"environment":"{name}"')
    words = {model.name: name, f"({model.color})": f"({environment.color})"}
    for word, other in words.items():
        comment = rf"^(#.*)(?<![\w-]){re.escape(word)}(?![\w-])"
        text = re.sub(comment, lambda found, other=other: found[1] + other, text, flags=re.MULTILINE)
    return text


def _overlay(checkout: Path, model: str, name: str, port: int) -> str:
    text = (checkout / environments.path_of(model, "kustomization.yaml")).read_text("utf-8")
    text = re.sub(rf"(?<![\w-]){re.escape(model)} on Kubernetes", f"{name} on Kubernetes", text)
    text = re.sub(rf"visage-{re.escape(model)}(?![\w-])", f"visage-{name}", text)
    return re.sub(r"(BASE_URL=)\S+", rf"\g<1>http://{name}.localhost:{port}", text)


class _Command(Command):
    program = ".venv/bin/python -m infra.new_environment"
    actions: ClassVar = {"": "create the environment"}
    following: ClassVar = {"": "make new-environment NAME=qa AFTER=dev"}
    expected = (NewEnvironmentError,)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(cls=_Command)
def main(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and dashes, such as qa.")],
    after: Annotated[str, typer.Option(help="The environments before it, separated by commas.")] = "",
    wave: Annotated[str, typer.Option(help="The wave; by default a new wave.")] = "",
    title: Annotated[str, typer.Option(help="The displayed name.")] = "",
) -> None:
    """Create an environment: its position in the promotion order, settings, release file and overlay."""
    before = [one.strip() for one in after.split(",") if one.strip()]
    made = make(CHECKOUT, name, before, wave, title)
    write(CHECKOUT, made)
    print(f"Created {', '.join(made)}. Check the settings, then")
    print(
        f"  order:   write `after: [{name}]` into the environment.yaml of the environments that come after it"
    )
    print("  propose: commit them on a branch, and merge the branch: .venv/bin/gitops check --head BRANCH")
    print(f"  start:   VISAGE_ENVIRONMENTS={','.join((*before, name))} make up")
    print(f"  promote: .venv/bin/gitops promote {name} --push --wait")


if __name__ == "__main__":
    app()
