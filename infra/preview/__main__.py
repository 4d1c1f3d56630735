"""Run the command line: `python -m infra.preview`."""

from infra.preview.cli import app

if __name__ == "__main__":
    app()
