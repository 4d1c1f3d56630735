"""A HOME whose settings are all unlike those of an empty one, for `make test-hostile`.

It leaves alone the settings that only their owner can decide: a name, a key to sign with, credentials, a
proxy, an index of packages.
"""

import hashlib
import os
import time
from pathlib import Path

import pytest

VARIABLE = "TESTS_HOSTILE"
UMASKS = (0o000, 0o077)
LOCALES = ("C", "tr_TR.UTF-8")
TIME_ZONE = "Pacific/Chatham"

_GIT = {
    "advice.detachedHead": "true",
    "branch.autoSetupMerge": "always",
    "branch.sort": "-committerdate",
    "color.ui": "always",
    "column.ui": "always",
    "commit.cleanup": "verbatim",
    "commit.status": "false",
    "commit.verbose": "true",
    "core.abbrev": "4",
    "core.autocrlf": "true",
    "core.editor": "false",
    "core.fsmonitor": "false",
    "core.pager": "false",
    "core.quotePath": "false",
    "core.safecrlf": "true",
    "core.whitespace": "cr-at-eol,tab-in-indent",
    "diff.algorithm": "histogram",
    "diff.colorMoved": "zebra",
    "diff.ignoreSubmodules": "all",
    "diff.mnemonicPrefix": "true",
    "diff.noprefix": "true",
    "diff.orderFile": "{home}/their/order",
    "diff.renames": "copies",
    "fetch.fsckObjects": "true",
    "fetch.output": "compact",
    "fetch.prune": "true",
    "fetch.pruneTags": "true",
    "format.pretty": "%an was here",
    "grep.lineNumber": "true",
    "help.autocorrect": "immediate",
    "i18n.commitEncoding": "ISO-8859-1",
    "i18n.logOutputEncoding": "ISO-8859-1",
    "init.defaultBranch": "trunk",
    "log.date": "relative",
    "log.decorate": "full",
    "log.follow": "true",
    "log.showSignature": "true",
    "merge.conflictStyle": "diff3",
    "merge.ff": "only",
    "merge.renames": "false",
    "merge.verifySignatures": "false",
    "pager.branch": "true",
    "pager.log": "true",
    "pull.rebase": "true",
    "push.autoSetupRemote": "true",
    "push.default": "nothing",
    "push.followTags": "true",
    "receive.fsckObjects": "true",
    "rebase.autoStash": "true",
    "status.branch": "true",
    "status.short": "true",
    "status.showUntrackedFiles": "no",
    "submodule.recurse": "true",
    "tag.sort": "-version:refname",
    "transfer.fsckObjects": "true",
    "core.attributesFile": "{home}/their/attributes",
    "core.excludesFile": "{home}/their/ignore",
    "core.hooksPath": "{home}/their/hooks",
}
_HOOKS = (
    "pre-commit",
    "commit-msg",
    "post-checkout",
    "post-commit",
    "pre-push",
    "reference-transaction",
    "update",
)
_FILES = {
    # All but the files that DVC makes: it refuses to work with a repository that ignores these
    "their/ignore": "*\n!*/\n!.dvc\n!.dvc/**\n!*.dvc\n!dvc.*\n!.dvcignore\n!.gitignore\n",
    "their/attributes": "* -text merge=ours diff=none\n",
    "their/order": "*.zz\n",
    ".config/pip/pip.conf": "[global]\nquiet = 3\n[install]\nuser = true\nno-compile = true\n",
    "dvc-system/config": "[core]\n    autostage = true\n",
    ".inputrc": "set editing-mode vi\n",
    ".curlrc": "fail-early\n",
}


def is_asked_for() -> bool:
    """Return whether the tests run under such a HOME."""
    return bool(os.environ.get(VARIABLE))


def prepare(patch: pytest.MonkeyPatch, home: Path, name: str) -> int:
    """Fill a HOME, set locale and time zone, and return a umask; they vary with the name of a test."""
    number = hashlib.sha256(name.encode()).digest()[0]
    for path, content in _FILES.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(content)
    (home / "their/hooks").mkdir()
    for hook in _HOOKS:
        (home / "their/hooks" / hook).write_text("#!/bin/sh\necho the hook of the user fails >&2\nexit 1\n")
        (home / "their/hooks" / hook).chmod(0o755)
    settings: dict[str, list[str]] = {}
    for key, value in _GIT.items():
        section, _, variable = key.partition(".")
        settings.setdefault(section, []).append(f"\t{variable} = {value.format(home=home)}\n")
    text = "".join(f"[{section}]\n{''.join(lines)}" for section, lines in settings.items())
    (home / ".gitconfig").write_text(text)
    for variable in ("EDITOR", "VISUAL", "PAGER", "BROWSER"):
        patch.setenv(variable, "false")
    patch.setenv("LANG", LOCALES[number % 2])
    patch.setenv("LC_ALL", LOCALES[number % 2])
    patch.setenv("TZ", TIME_ZONE)
    time.tzset()
    return UMASKS[number // 2 % 2]
