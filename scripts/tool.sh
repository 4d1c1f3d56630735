#!/usr/bin/env bash
# Run a tool of .venv (scripts/tool.sh ruff check): that of this checkout, or else that of its main worktree, and
# then with the code of this checkout.
set -euo pipefail

root=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tool=$root/.venv/bin/$1
if [[ ! -x $tool ]]; then
  # Outside of a repository there is no main worktree.
  shared=
  if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
    shared=$(git -C "$root" rev-parse --path-format=absolute --git-common-dir)
  fi
  other=${shared%/.git}/.venv/bin/$1
  if [[ -z $shared || ! -x $other ]]; then
    printf 'Cannot run %s: %s is not there\nNext: make -C %q setup\n' "$1" "$tool" "$root" >&2
    exit 1
  fi
  tool=$other
  export PYTHONPATH=$root/src${PYTHONPATH:+:$PYTHONPATH}
fi
shift
exec "$tool" "$@"
