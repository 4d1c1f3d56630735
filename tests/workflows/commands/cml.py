"""A stand-in for the command `cml`, which cannot be had without its releases on GitHub.

It sends what CML 0.20.6 sends for `cml comment update`: it lists the comments, on one page of 30, takes the
last that has its watermark, changes that one, or posts a new one. Anything else is refused. Run as a script.
"""

import os
import re
import sys
from pathlib import Path

import requests

OPTIONS = {"--target", "--publish", "--watermark-title"}


def main(arguments: list[str]) -> None:
    """Do what `cml` with these arguments does."""
    if arguments[:2] != ["comment", "update"]:
        sys.exit(f"cml: {arguments[:2]}: this stand-in knows comment update alone")
    options = dict(one.split("=", 1) for one in arguments[2:] if one.startswith("--"))
    files = [one for one in arguments[2:] if not one.startswith("--")]
    if set(options) != OPTIONS or options["--publish"] != "false" or len(files) != 1:
        sys.exit(f"cml: {arguments}: would upload what the report links to, or is not understood")
    if not os.environ.get("ITERATIVE_DO_NOT_TRACK"):
        sys.exit("cml: would tell its makers who you are")
    target = re.fullmatch(r"pr/(\d+)", options["--target"])
    if not target:
        sys.exit(f"cml: {options['--target']}: no pull request")
    name = os.environ["GITHUB_REPOSITORY"]
    # The real one asks api.github.com, whatever this variable says.
    base = f"{os.environ['GITHUB_API_URL']}/repos/{name}"
    headers = {"Authorization": f"token {os.environ['REPO_TOKEN']}"}
    title = f"CML watermark {options['--watermark-title']}"
    mark = f'![](https://cml.dev/watermark.png#{os.environ["GITHUB_SHA"]} "{title}")'
    body = f"{Path(files[0]).read_text('utf-8')}\n\n{mark}"
    found = requests.get(f"{base}/issues/{target[1]}/comments", headers=headers, timeout=120)
    found.raise_for_status()
    pattern = rf'!\[\]\(https://cml\.dev/watermark\.png#[0-9a-fA-F]+ "{re.escape(title)}"\)'
    mine = [one["id"] for one in found.json() if re.search(pattern, one["body"])]
    if mine:
        done = requests.patch(
            f"{base}/issues/comments/{mine[-1]}", json={"body": body}, headers=headers, timeout=120
        )
    else:
        done = requests.post(
            f"{base}/issues/{target[1]}/comments", json={"body": body}, headers=headers, timeout=120
        )
    done.raise_for_status()
    print(done.json()["html_url"])


if __name__ == "__main__":
    main(sys.argv[1:])
