#!/bin/bash
# Saves the database of an environment into BACKUPS, restores it into the server SCRATCH, and compares both. The newest
# KEPT backups stay. It fails, and keeps the earlier backups, if the new one cannot be restored whole.
set -euo pipefail
umask 077

server=${AIRFLOW__DATABASE__SQL_ALCHEMY_CONN/+psycopg2/}
partial=$BACKUPS/.partial
ask() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$@"; }

rm -rf "$partial"
mkdir -p "$partial"
# One snapshot for the dump and for the numbers: the environment goes on.
coproc HOLD { ask "$server"; }
printf '%s\n' 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;' 'SELECT pg_export_snapshot();' >&"${HOLD[1]}"
read -r snapshot <&"${HOLD[0]}"
pg_dump --format=custom --snapshot="$snapshot" --file="$partial/database.dump" --dbname="$server"
for table in dag_run task_instance; do
    printf '%s\n' "SELECT version_num, (SELECT count(*) FROM $table) FROM alembic_version;" >&"${HOLD[1]}"
    read -r line <&"${HOLD[0]}"
    printf '%s %s\n' "$table" "$line"
done >"$partial/facts"
printf '%s\n' 'COMMIT;' '\q' >&"${HOLD[1]}"

ask "$SCRATCH/postgres" --command 'DROP DATABASE IF EXISTS drill' --command 'CREATE DATABASE drill'
pg_restore --exit-on-error --no-owner --no-privileges --dbname="$SCRATCH/drill" "$partial/database.dump"
while read -r table line; do
    restored=$(ask "$SCRATCH/drill" --command "SELECT version_num, (SELECT count(*) FROM $table) FROM alembic_version")
    printf '%s: saved %s, restored %s\n' "$table" "$line" "$restored"
    [ "$line" = "$restored" ]
done <"$partial/facts"
(cd "$partial" && sha256sum database.dump >SHA256SUMS && rm facts)

target=$BACKUPS/$(date -u +%Y-%m-%dT%H%M%SZ)
mv "$partial" "$target"
printf 'saved and restored: %s, %s bytes\n' "$target" "$(stat --format=%s "$target/database.dump")"
find "$BACKUPS" -mindepth 1 -maxdepth 1 -name '????-??-??T??????Z' | sort | head -n "-$KEPT" | xargs -r rm -r
