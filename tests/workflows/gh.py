"""A stand-in for `gh`, which every GitHub runner has: `gh api` as the workflows use it. Run as a script."""

import argparse
import os

import jq
import requests


def main() -> None:
    """Send the request of `gh api PATH`, or of `gh api PATH -f KEY=VALUE ...`, which posts."""
    parser = argparse.ArgumentParser(prog="gh")
    parser.add_argument("command", choices=["api"])
    parser.add_argument("path")
    parser.add_argument("--jq", default=".")
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("-f", dest="fields", action="append", default=[])
    given = parser.parse_args()
    answer = requests.request(
        "POST" if given.fields else "GET",
        # The real command asks api.github.com, whatever this variable holds.
        f"{os.environ['GITHUB_API_URL']}/{given.path}",
        json=dict(field.split("=", 1) for field in given.fields) or None,
        headers={"Authorization": f"token {os.environ['GH_TOKEN']}"},
        timeout=120,
    )
    answer.raise_for_status()
    if not given.silent:
        print(jq.compile(given.jq).input_value(answer.json()).text())


if __name__ == "__main__":
    main()
