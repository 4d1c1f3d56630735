"""A finding: something that is wrong with a change, a commit or an environment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One fault, on one line.

    Attributes:
        subject: The file, the commit or the job that it is about.
        problem: The fault.
        remedy: The way to repair it, with a command where there is one; "" where nobody can.
        page: The address of a page about it; "" where there is none.

    """

    subject: str
    problem: str
    remedy: str = ""
    page: str = ""

    def __str__(self) -> str:
        text = f"{self.subject}: {self.problem}"
        if self.remedy:
            text += f"; {self.remedy}"
        # Anybody chooses the names of files, and a terminal or a log of GitHub takes some for commands.
        return "".join(letter if letter.isprintable() else "?" for letter in text)
