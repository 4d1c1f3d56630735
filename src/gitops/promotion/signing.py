"""Signing: the changes that need a signature of an allowed signer, and the lists of signers and keys."""

from gitops.errors import ReleaseError, SettingsError
from gitops.findings import Finding
from gitops.promotion.change import Change
from gitops.release import environments, keys, main_line, settings
from gitops.release import file as release_file
from gitops.release.environments import Environments
from gitops.release.keys import KeyList
from gitops.release.signatures import LARGEST, SIGNERS
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState


def unsigned_changes(state: ReleaseState, after: Environments, change: Change) -> list[Finding]:
    """Return the changes that an environment with signed releases would refuse after the merge."""
    head, changed = change.head, change.changed
    findings: list[Finding] = []
    signers = state.lists.signers
    listed = head.contents[SIGNERS] is not None
    if state.lists.problem:
        findings.append(
            Finding(main_line.SUBJECT, state.lists.problem, "see docs/signatures.md", rule="signers")
        )
    to_be_signed: list[str] = []
    for environment in state.environments:
        if _asks(state.main, environment):
            to_be_signed += [release_file.path_of(environment), environments.path_of(environment)]
            if not _asks(head, environment):
                to_be_signed.append(settings.path_of(environment))
    for environment in after:
        file, asked = settings.path_of(environment), _asks(head, environment)
        if asked and not listed:
            problem = f"requires signed releases, but there is no {SIGNERS}"
            findings.append(Finding(file, problem, f"add {SIGNERS}", rule="signers"))
        if _overrides(head, environment, after) and release_file.path_of(environment) in changed:
            to_be_signed.append(release_file.path_of(environment))
            if not signers:
                problem = f"override: there is no {SIGNERS} of the people who may write it"
                findings.append(
                    Finding(release_file.path_of(environment), problem, "wait for a window", rule="override")
                )
        if listed and not asked and environment in after.last_wave:
            findings.append(
                Finding(
                    file,
                    f"{SIGNERS} lists who may release, but {environment} does not require signatures",
                    "write REQUIRE_SIGNED_RELEASES=true",
                    rule="signers",
                )
            )
    right, sign = "sign it, then propose or commit it again", "git config commit.gpgSign true"
    for path in dict.fromkeys(to_be_signed):
        if why := change.unsigned.get(path):
            findings.append(Finding(path, why, right, rule="unsigned", command=sign))
    for path in (SIGNERS, *map(keys.path_of, after)):
        if path not in changed:
            continue
        if why := change.refused.get(path):
            findings.append(Finding(path, why, right, rule="unsigned", command=sign))
        if path == SIGNERS and len(head.contents[SIGNERS] or b"") > LARGEST:
            problem = f"has more than {LARGEST:,} bytes, so nobody on it would count"
            findings.append(Finding(path, problem, "list fewer people", rule="signers"))
        content = head.contents.get(path) if path != SIGNERS else None
        for problem in KeyList.read(content).problems if content else ():
            findings.append(Finding(path, problem, "see docs/signatures.md", rule="key"))
    return findings


def _asks(commit: Snapshot, environment: str) -> bool:
    try:
        return commit.settings(environment).require_signed_releases
    except SettingsError:
        return False  # another rule reports their problems


def _overrides(commit: Snapshot, environment: str, there: Environments) -> bool:
    try:
        release = commit.release(environment, follows=there.follows(environment))
    except ReleaseError:
        return False  # `_release` reports it
    return release is not None and release.override is not None
