"""The task of a verification that waits for the health of the release, without a worker."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from gitops.airflow.watch import HealthOfRelease


class WatchHealth(BaseOperator):
    """Waits until the watch over a release is over, and returns its verdict with the checks of the watch.

    Args:
        verdict: The verdict on the accuracy. A rejection waits for nothing.

    """

    template_fields = ("verdict",)

    def __init__(self, *, verdict: Any, **options: Any) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType] its kwargs have no type
        self.verdict = verdict

    def execute(self, context: Any) -> Any:
        """Begin to wait. The triggerer waits, so no worker is taken."""
        if self.verdict["reason"]:
            return self.verdict
        trigger = HealthOfRelease(self.verdict["release"])
        if found := trigger.known():
            return self.judge(context, found)
        self.defer(trigger=trigger, method_name=self.judge.__name__)
        return None

    def judge(self, context: Any, event: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return the verdict, after the wait.

        Raises:
            AirflowFailException: if the release does worse than the one before; it is rejected already.
            AirflowSkipException: if another release runs here now.

        """
        # Here, since the DAG file is loaded every half minute
        from gitops.release import checks
        from gitops.release.checks import Check
        from gitops.release.verdicts import Verdict

        verdict = Verdict.model_validate(self.verdict)
        if event["state"] == "replaced":
            raise AirflowSkipException(f"{verdict.release[:12]} does not run here any more: no verdict")
        found = [Check.model_validate(check) for check in event["checks"]]
        for line in checks.text(found):
            self.log.info("%s", line)
        if event["state"] == "failed":
            raise AirflowFailException(f"{verdict.release[:12]} is rejected: {checks.failures(found)}")
        named = verdict.model_copy(update={"checks": (*found, *verdict.checks)})
        return named.model_dump(mode="json")
