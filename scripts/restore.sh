#!/usr/bin/env bash
# Restores an environment from a backup of scripts/backup.sh.
set -euo pipefail
CDPATH='' cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
Usage: scripts/restore.sh ENVIRONMENT FOLDER

Restore an environment from the backup that scripts/backup.sh made in FOLDER. You can do this on another server:
run scripts/init_airflow.sh ENVIRONMENT there first. The command stops the environment, replaces its database,
keys and data, and starts it again. On a terminal it asks you first.

The environments share the store and the git repository. The command adds missing objects to the store, and adds
or advances branches and tags in git. It does not move or remove any of them.
TEXT
}
action="restore ${1:-an environment}"
# shellcheck source=scripts/lib/compose.sh
source scripts/lib/compose.sh
case "${1:-}" in -h | --help) usage; exit 0 ;; esac
[ $# = 2 ] || fail "name an environment and a folder" "scripts/restore.sh --help"
environment=$1
source=$2
require_environment "$environment"
[ -f "$source/SHA256SUMS" ] || fail "$source is no backup: it has no SHA256SUMS" "ls backups"
(cd "$source" && sha256sum --check --quiet --strict SHA256SUMS) || fail "$source is damaged; nothing was changed" "ls backups"
for part in database.dump private.tar home.tar; do
    [ -f "$source/$part" ] || fail "$source has no $part; nothing was changed" "ls backups"
done
require_docker
[ -f .env ] || fail "this server has no .env" "scripts/init_airflow.sh $environment"

# The present data is lost afterwards, so a person must confirm.
if [ -t 0 ]; then
    printf "This replaces %s's database, keys and data by those of %s.\n" "$environment" "$source"
    printf 'To keep what is there now, save it first: scripts/backup.sh %s\n' "$environment"
    read -r -p 'Go on? [y/N] ' answer || answer=
    [[ "$answer" =~ ^[yY]([eE][sS])?$ ]] || fail "you said no; nothing was changed" "scripts/backup.sh $environment"
fi

umask 077
inside() { compose "$environment" run --rm --no-deps -T --quiet-pull airflow-init "$@"; }
in_database() { compose "$environment" exec -T postgres "$@"; }

compose "$environment" down
# A new server of the database makes its roles as this version has them.
volume=$(compose "$environment" config --format json | python3 -c 'import json, sys; print(json.load(sys.stdin)["volumes"]["database"]["name"])')
docker volume rm --force "$volume" >/dev/null
compose "$environment" up --detach --wait postgres
in_database pg_restore --username=airflow --dbname=airflow --exit-on-error --no-owner <"$source/database.dump"
# Emptied first: a key or a batch that is newer than the backup must not remain.
inside find /opt/visage/private /opt/visage/home -mindepth 1 -delete
inside tar --extract --directory=/opt/visage/private <"$source/private.tar"
inside tar --extract --directory=/opt/visage/home <"$source/home.tar"
if [ -f "$source/store.tar" ]; then
    tar --extract --skip-old-files --directory=.compose/store --file="$source/store.tar"
fi
if [ -f "$source/origin.bundle" ]; then
    git -C .compose/origin.git fetch --quiet "$(realpath "$source/origin.bundle")" '+refs/*:refs/restored/*'
    git -C .compose/origin.git for-each-ref --format='%(objectname) %(refname)' refs/restored |
        while read -r commit name; do
            present=refs/${name#refs/restored/}
            if ! git -C .compose/origin.git rev-parse --verify --quiet "$present" >/dev/null ||
                git -C .compose/origin.git merge-base --is-ancestor "$present" "$commit"; then
                git -C .compose/origin.git update-ref "$present" "$commit"
            fi
            git -C .compose/origin.git update-ref -d "$name"
        done
fi
if [ "$(id -u)" = 0 ]; then chown -R "$(setting AIRFLOW_UID):0" .compose; fi
compose "$environment" up --detach --wait --wait-timeout 300
printf '%s is back from %s\n' "$environment" "$source"
