"""Prepare an environment for its Airflow. You can run this again at any time.

    prepare.py secrets     generate the secrets, and configure the DVC remote and cache
    prepare.py verifier    make the key with which the environment signs its verdicts. On main of a repository
                           on this server, list its public half; else print the line to list
    prepare.py database    migrate the database, and create the pools. SCORING_SLOTS, if set, is the number
                           of batches that are scored at a time
    prepare.py accounts    create the users of FAB's auth manager, where the settings choose it

In Docker Compose, the service airflow-init does all of them. In Kubernetes, the schedulers prepare the
database and the accounts, and Secrets and a ConfigMap replace the other commands.

AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS in the settings lists the users and their roles, for each auth
manager. Their passwords are in the file that AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE names.
"""

import argparse
import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

POOLS = Path(__file__).with_name("pools.json")
USERNAME = "airflow"
SERVICE, FOLDER = "git://git/origin.git", "/opt/visage/origin.git"
"""The repository of Docker Compose: its address, and the folder of it that this program alone has."""
USERS = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"
ROLES = ("viewer", "user", "op", "admin")
"""The roles of Airflow's simple auth manager. FAB has the same, with a capital letter."""
_NO_HOST = "users.invalid"
_TIMEOUT = 600

_MADE_UP: dict[str, Callable[[], str]] = {
    "fernet_key": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
    "api_secret_key": lambda: secrets.token_urlsafe(32),
    "jwt_secret": lambda: secrets.token_urlsafe(48),  # SHA-512 needs 64 characters
}


def make_secrets(folder: Path, password: str, users: list[str], dvc_remote: str, dvc_cache: Path) -> None:
    """Write missing secrets of the environment and the DVC configuration into `folder`.

    Args:
        folder: The folder of the secrets. Files in it are kept.
        password: The password of the user airflow. If it is empty, a password is generated.
        users: The names of the other users. A password is generated for each of them, because Airflow
            would print one of its own in a log.
        dvc_remote: The URL of the DVC remote.
        dvc_cache: The folder of the DVC cache, which is created if it is missing.

    """
    for name, make_up in _MADE_UP.items():
        if not (folder / name).exists():
            write(folder / name, make_up())
    if not (folder / "serving_tokens").exists():
        write(folder / "serving_tokens", f"owner {secrets.token_urlsafe(32)} search\n")
    accounts = folder / "passwords.json"
    known = json.loads(accounts.read_text()) if accounts.exists() else {}
    wanted = with_passwords(known, [USERNAME, *users])
    if password:
        wanted[USERNAME] = password
    if wanted != known:
        write(accounts, json.dumps(wanted))
    dvc_cache.mkdir(parents=True, exist_ok=True)
    (folder / "dvc").mkdir(exist_ok=True)
    write(
        folder / "dvc" / "config",
        "[core]\n    remote = storage\n    analytics = false\n    check_update = false\n"
        f"['remote \"storage\"']\n    url = {dvc_remote}\n"
        f'[cache]\n    dir = {dvc_cache}\n    type = "hardlink,symlink"\n',
    )


def make_verifier(folder: Path, environment: str, host: str) -> str:
    """Make the key of an environment, and the trust root, in `folder`.

    Args:
        folder: The folder of the secrets.
        environment: The environment.
        host: The git repository. If it is a folder, or the service of Docker Compose, it is on this server:
            the key is listed on its main.

    Returns:
        A report for the person who started it.

    Raises:
        GitopsError: If a key cannot be used, or main has lists that nobody signed.

    """
    from gitops.git.repository import Repository
    from gitops.release.enrol import enrol
    from gitops.release.keys import PrivateKey, path_of

    key = PrivateKey.create(folder / "verifier_key")
    trust_root = folder / "trust_root"
    host = FOLDER if host == SERVICE else host
    if not Path(host).is_dir():
        if not trust_root.exists():
            write(trust_root, "")
        line = key.line(environment).decode().strip()
        return f"{environment}: {path_of(environment)} on main has to have this line:\n{line}"
    origin = Repository(host)
    known = origin.run("config", "--get", "visage.trustRoot").stdout.decode().strip() or None
    root = enrol(origin, {environment: key}, known)
    origin.git("config", "visage.trustRoot", root)
    write(trust_root, root)
    return f"{environment}: main lists its key; trust root {root[:12]}"


def prepare_database(scoring_slots: int | None) -> None:
    """Migrate the database and import the pools.

    Args:
        scoring_slots: The number of batches that are scored at a time, or None for the number in the pools.

    Raises:
        subprocess.CalledProcessError: Airflow fails. It has printed the reason.

    """
    pools = json.loads(POOLS.read_text())
    if scoring_slots is not None:
        pools["scoring"]["slots"] = scoring_slots
    with tempfile.TemporaryDirectory() as folder:
        imported = Path(folder) / "pools.json"
        imported.write_text(json.dumps(pools))
        for command in (["db", "migrate"], ["pools", "import", str(imported)]):
            subprocess.run(["airflow", *command], stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=True)


def with_passwords(known: Mapping[str, str], users: Iterable[str]) -> dict[str, str]:
    """Return the passwords of all users. A password is generated for a user who has none."""
    return {**known, **{name: secrets.token_urlsafe(12) for name in users if name not in known}}


def declared_users(setting: str) -> dict[str, str]:
    """Return the role of each user in a setting such as `airflow:admin,anna:viewer`.

    Raises:
        ValueError: A part of it is no user with a role.

    """
    parts = [part.strip().partition(":") for part in setting.split(",") if part.strip()]
    users = {name: role for name, _, role in parts}
    for name, role in users.items():
        if role.lower() not in ROLES:
            raise ValueError(f"{USERS}: {name}: no role; write {name}:ROLE, with one of {', '.join(ROLES)}")
    return {name: role.lower() for name, role in users.items()}


def make_accounts(users: Mapping[str, str], passwords: Mapping[str, str]) -> None:
    """Create missing users of FAB's auth manager, and give each declared user the declared role.

    Users that somebody added in the web interface stay as they are, and so does each password.
    """
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.utils.providers_configuration_loader import providers_configuration_loaded

    def make() -> None:
        with get_application_builder() as builder:
            manager: Any = builder.sm  # FAB's own class, of which Airflow's has more methods
            manager.sync_roles()
            for name, role in users.items():
                found = manager.find_role(role.capitalize())
                user = manager.find_user(name)
                if user is None:
                    address = f"{name}@{_NO_HOST}"
                    if not manager.add_user(name, name, "-", address, found, passwords[name]):
                        raise RuntimeError(f"{name}: FAB cannot create this user; its log has the reason")
                elif user.roles != [found]:
                    user.roles = [found]
                    manager.update_user(user)

    providers_configuration_loaded(make)()


def write(path: Path, content: str) -> None:
    """Write a file atomically. Only the owner can read it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(content + "\n")
    Path(name).replace(path)


def main(arguments: list[str]) -> int:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    choices = ("secrets", "verifier", "database", "accounts")
    parser.add_argument("parts", nargs="+", choices=choices, metavar="PART")
    parts = parser.parse_args(arguments).parts
    try:
        users = declared_users(os.environ.get(USERS, f"{USERNAME}:admin"))
    except ValueError as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return 1
    if "secrets" in parts:
        variables = ("VISAGE_PRIVATE", "DEFAULT_PASSWORD", "DVC_REMOTE_URL", "DVC_CACHE")
        if missing := [name for name in variables if name not in os.environ]:
            print(f"prepare.py secrets: {', '.join(missing)}: not set", file=sys.stderr)
            return 1
        folder, password, remote, cache = (os.environ[name] for name in variables)
        make_secrets(Path(folder), password, list(users), remote, Path(cache))
    if "verifier" in parts:
        variables = ("VISAGE_PRIVATE", "VISAGE_ENVIRONMENT", "AIRFLOW_CONN_GIT_DEFAULT")
        if missing := [name for name in variables if name not in os.environ]:
            print(f"prepare.py verifier: {', '.join(missing)}: not set", file=sys.stderr)
            return 1
        from gitops.errors import GitopsError

        folder, environment, connection = (os.environ[name] for name in variables)
        try:
            host = str(json.loads(connection)["host"])
            print(make_verifier(Path(folder), environment, host))
        except (GitopsError, ValueError, LookupError, TypeError) as error:
            print(f"prepare.py verifier: {error}", file=sys.stderr)
            return 1
    if "database" in parts:
        slots = os.environ.get("SCORING_SLOTS")
        if slots is not None and not (slots.isascii() and slots.isdigit() and int(slots) > 0):
            print(
                f"prepare.py database: SCORING_SLOTS: {slots}: not a number of batches; set it to 1 or more",
                file=sys.stderr,
            )
            return 1
        try:
            prepare_database(int(slots) if slots else None)
        except subprocess.CalledProcessError as error:
            print(
                f"prepare.py database: {' '.join(error.cmd)}: exit status {error.returncode}", file=sys.stderr
            )
            return 1
    if "accounts" in parts and os.environ.get("AIRFLOW__CORE__AUTH_MANAGER", "").endswith("FabAuthManager"):
        path = os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
        passwords = json.loads(Path(path).read_text())
        if missing := [name for name in users if name not in passwords]:
            print(f"prepare.py accounts: {path}: {', '.join(missing)}: no password", file=sys.stderr)
            return 1
        make_accounts(users, passwords)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
