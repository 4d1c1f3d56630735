import json
from dataclasses import asdict, astuple
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from infra.local import secret
from infra.local.errors import EngineError


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = secret.load(path)
    assert secret.load(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(set(astuple(made))) == 5
    assert all(len(value) >= 16 for value in astuple(made))
    Fernet(made.fernet_key)


def test_no_two_environments_share_a_secret(tmp_path: Path) -> None:
    one, other = (astuple(secret.load(tmp_path / name)) for name in ("dev", "prod"))
    assert not set(one) & set(other)


def test_secrets_of_an_earlier_version_get_the_key_of_the_fingerprints(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = asdict(secret.load(path))
    del made["fingerprint_key"]
    path.write_text(json.dumps(made))
    found = secret.load(path)
    assert asdict(found) == {**made, "fingerprint_key": found.fingerprint_key}
    assert len(found.fingerprint_key) >= 16
    assert secret.load(path) == found


def test_a_file_of_another_shape_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"password": "x"}))
    with pytest.raises(EngineError, match=r"secrets\.json: not the secrets"):
        secret.load(path)
