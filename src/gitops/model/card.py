"""Contents of `metrics/card.json`: the model card of a release."""

from typing import Annotated, Literal

from pydantic import Field

from gitops.text.record import Digest, Record

NOT_EVALUATED = "not evaluated"
_Text = Annotated[str, Field(max_length=20_000)]


class Card(Record):
    """A model card: sections of fields. A field that no stage evaluated is None."""

    format: Literal[1] = 1
    model_sha256: Digest
    sections: dict[_Text, dict[_Text, _Text | None]] = Field(max_length=100)

    def rows(self) -> dict[tuple[str, str], str]:
        """Return the text of each field, by section and name."""
        return {
            (title, name): NOT_EVALUATED if value is None else value
            for title, fields in self.sections.items()
            for name, value in fields.items()
        }
