"""A finding: something that is wrong with a change, a commit or an environment."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One fault, on one line.

    Attributes:
        subject: The file, the commit or the job that it is about.
        problem: The fault.
        remedy: The way to repair it; "" where nobody can.
        page: The address of a page about it; "" where there is none.
        rule: The rule that it breaks: a heading of docs/rules.md or docs/rules-files.md.
        command: The next command, which can be pasted in a checkout; "" where none is known.

    """

    subject: str
    problem: str
    remedy: str = ""
    page: str = ""
    rule: str = field(kw_only=True)
    command: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        text = f"{self.subject}: {self.problem}"
        steps = [self.remedy] if self.remedy else []
        if self.command and self.command not in self.remedy:
            steps.append(f"run: {self.command}")
        # Anybody chooses the names of files, and a terminal or a log of GitHub takes some for commands.
        return printable("; ".join([text, *steps]))


def printable(text: str) -> str:
    """Return a text whose characters can all be printed."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
