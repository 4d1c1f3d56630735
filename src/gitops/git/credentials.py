"""The credentials by which git logs into GitHub in a step of GitHub Actions."""

import os

_HELPER = '!f() { test "$1" = get && echo username=x-access-token && echo "password=$GITHUB_TOKEN"; }; f'


def git_variables() -> dict[str, str]:
    """Return the variables by which git logs into GitHub with GITHUB_TOKEN, in a step of GitHub Actions.

    A checkout that keeps no credentials needs them. The token itself is in none of them, and no other server
    gets it.
    """
    server = os.environ.get("GITHUB_SERVER_URL")
    if not server or not os.environ.get("GITHUB_TOKEN"):
        return {}
    count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    key = f"credential.{server}.helper"
    if any(os.environ.get(f"GIT_CONFIG_KEY_{number}") == key for number in range(count)):
        return {}
    # The empty one makes git forget the helpers that were configured before.
    variables = {"GIT_CONFIG_COUNT": str(count + 2)}
    for number, value in enumerate(("", _HELPER), start=count):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables
