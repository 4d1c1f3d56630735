"""Keys of a bucket for an hour, for a job that shows who it is."""

from pathlib import Path

import pytest
from botocore.session import Session
from typer.testing import CliRunner
from werkzeug import Request, Response

from gitops.cli import app
from tests.support.http import serving

# What AWS's token service answers to AssumeRoleWithWebIdentity
ROLE = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>
<SecretAccessKey>for an hour</SecretAccessKey><SessionToken>session</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


def test_the_token_of_a_job_opens_the_bucket_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def answer(request: Request) -> Response:
        if request.path == "/token":
            assert request.headers["Authorization"] == "Bearer job"
            assert request.args.to_dict() == {"audience": "sts.amazonaws.com"}
            return Response('{"value": "signed by GitHub"}', content_type="application/json")
        sent.append(request.form["WebIdentityToken"])
        return Response(ROLE, content_type="text/xml")

    file = tmp_path / "token"
    with serving(answer) as url:
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{url}/token")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job")
        done = CliRunner().invoke(app, ["github", "identity", "--out", str(file)])
        assert (done.exit_code, done.stdout) == (0, "")
        assert (file.read_text(), file.stat().st_mode & 0o777) == ("signed by GitHub", 0o600)
        # The variables of a step, where the secrets of the keys are not set
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "")
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/visage")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        keys = Session().get_credentials()
        assert keys is not None
        assert keys.get_frozen_credentials().secret_key == "for an hour"  # pragma: allowlist secret
    assert sent == ["signed by GitHub"]


def test_outside_of_a_job_there_is_no_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_URL", raising=False)
    done = CliRunner().invoke(app, ["github", "identity", "--out", str(tmp_path / "token")])
    assert done.exit_code == 1
    assert "only a job with the permission id-token: write" in done.stderr
