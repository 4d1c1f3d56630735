"""Demands: the conditions of an environment for a release, beyond those of main.

The settings of this process and those of the trust root count too, so that a push to main cannot take a
demand back.
"""

import os

from gitops.errors import LicencesError, SettingsError
from gitops.git.repository import Repository
from gitops.release import environments, licences, settings, signatures, vouchers
from gitops.release import file as release_file
from gitops.release.file import Declaration
from gitops.release.licences import Use
from gitops.release.signatures import Trust
from gitops.release.state import ReleaseState
from gitops.release.verdicts import Verdicts

EARLIER = "earlier"
"""The name under which the verdicts of earlier environments are kept."""
_SIGNED = "REQUIRE_SIGNED_RELEASES"
_USE = "USE"


class Demands:
    """The demands of one environment.

    Args:
        environment: The name of the environment.
        bare: Its copy of the repository.
        trust: The commits and keys that it trusts.

    """

    def __init__(self, environment: str, bare: Repository, trust: Trust) -> None:
        self.environment = environment
        self._bare = bare
        self._trust = trust

    @property
    def vouchers(self) -> bool:
        """Whether an earlier environment has to vouch for a model."""
        return self._asks(vouchers.SETTING, "true")

    @property
    def signatures(self) -> bool:
        """Whether a release must be signed.

        A main that did not grow out of the trust root declares nothing.
        """
        return self._trust.lists.problem is not None or self._asks(_SIGNED, "true")

    def unsigned_declaration(self, declaration: Declaration) -> str | None:
        """Return why a declaration does not count where releases must be signed, or None where it does."""
        if problem := self._trust.lists.problem:
            return f"{release_file.path_of(self.environment)}: {problem}"
        if declaration.release.follow:
            # Nobody signs for each commit of main, and nobody may make this environment follow it.
            path = environments.path_of(self.environment)
            return f"{path}: {self.environment} follows main, but asks for signed releases; write `after`"
        return signatures.objection(self._trust, declaration)

    def unsigned(self, state: ReleaseState, commit: str) -> bool:
        """Whether main never declared a commit here in a way that counts where releases must be signed."""
        return all(
            self.unsigned_declaration(declaration)
            for declaration in state.history(self.environment)
            if declaration.commit == commit
        )

    def model_fault(self, state: ReleaseState, commit: str) -> str | None:
        """Return why the model of a release may not be loaded here, or None if it may or there is none."""
        release = state.snapshot(commit)
        if release is None or release.model is None:
            return None
        path = settings.path_of(self.environment)
        use: Use = "commercial" if self._asks(_USE, "commercial") else "research"
        try:
            appended = licences.batches(self._bare.files(commit, licences.BATCHES))
            forbidden = state.main.licences.forbidden(release.source, appended, use)
        except LicencesError as error:
            # Without licences no data is known to allow more than research.
            forbidden = [str(error)] if use == "commercial" else []
        if forbidden:
            return f"{path}: USE={use}, and {commit[:12]} has a model of other data: {forbidden[0]}"
        if not self.vouchers:
            return None
        lists, known = self._trust.lists, state.environments
        verdicts = Verdicts.load(self._bare, lists, remote=EARLIER, environments=known)
        fault = vouchers.fault(self.environment, release.model, known, verdicts)
        return str(fault) if fault else None

    def _asks(self, key: str, value: str) -> bool:
        """Whether a setting has a value in this process, on main, or in the trust root."""
        if os.environ.get(key) == value:
            return True
        path = settings.path_of(self.environment)
        commits = [self._trust.tip, *filter(None, [self._trust.root])]
        for content in self._bare.read_all([(commit, path) for commit in commits]):
            try:
                lines = settings.parse_lines(content or b"", path)
            except SettingsError:
                continue
            if lines.get(key, (0, ""))[1] == value:
                return True
        return False
