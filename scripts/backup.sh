#!/usr/bin/env bash
# Saves an environment, and the files that environments share, into a folder; scripts/restore.sh restores it.
set -euo pipefail
CDPATH='' cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
Usage: scripts/backup.sh ENVIRONMENT [FOLDER]

Save, while it is up, an environment that runs with Docker Compose into FOLDER
(default: backups/ENVIRONMENT-<time>):

  database.dump   Airflow's database
  private.tar     the environment's keys, without which the database's connections cannot be read
  home.tar        its data: images, scores, labels, reports; no caches
  origin.bundle   git (where it is .compose/origin.git)
  store.tar       the DVC remote (where it is .compose/store)
  SHA256SUMS

FOLDER appears when the backup is complete. It contains keys: keep it where nobody else can read it.
TEXT
}
action="back up ${1:-an environment}"
# shellcheck source=scripts/lib/compose.sh
source scripts/lib/compose.sh
case "${1:-}" in -h | --help) usage; exit 0 ;; esac
[ $# -le 2 ] || fail "$3 is a second folder" "scripts/backup.sh --help"
environment=${1:-}
require_environment "$environment"
require_docker
target=${2:-backups/$environment-$(date -u +%Y%m%dT%H%M%SZ)}
[ ! -e "$target" ] || fail "$target exists; name another folder" "scripts/backup.sh $environment"
[ -n "$(compose "$environment" ps --quiet --status running postgres)" ] ||
    fail "its database does not run" "docker compose -p visage-$environment up -d postgres"

umask 077
partial=$target.partial
rm -rf "$partial"
mkdir -p "$partial"
trap 'rm -rf "$partial"' EXIT
# A container of the same user and volumes, also while Airflow itself is down.
inside() { compose "$environment" run --rm --no-deps -T --quiet-pull airflow-init "$@"; }

compose "$environment" exec -T postgres pg_dump --username=airflow --format=custom airflow >"$partial/database.dump"
inside tar --create --directory=/opt/visage/private . >"$partial/private.tar"
inside tar --create --directory=/opt/visage/home --exclude=./workspaces --exclude='*/workspaces' . >"$partial/home.tar"
# Git before the store: whatever git names was in the store before.
if [ -d .compose/origin.git ]; then
    git -C .compose/origin.git bundle create --quiet "$(realpath "$partial")/origin.bundle" --all
fi
if [ -d .compose/store ]; then
    tar --create --directory=.compose/store --file="$partial/store.tar" .
fi
(cd "$partial" && sha256sum -- * >../"$(basename "$partial").sums" && mv ../"$(basename "$partial").sums" SHA256SUMS)
mv "$partial" "$target"
trap - EXIT
printf 'saved: %s (%s)\n' "$target" "$(du -sh "$target" | cut -f 1)"
