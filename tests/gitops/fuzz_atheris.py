"""Run one reader under Atheris: python -m tests.gitops.fuzz_atheris READER [options of libFuzzer]."""

import sys

import atheris

with atheris.instrument_imports(include=["gitops", "dashboard"]):
    from tests.gitops.fuzz import READERS, one

if __name__ == "__main__":
    reader = READERS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, lambda content: one(reader, content))
    atheris.Fuzz()
