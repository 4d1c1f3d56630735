#!/usr/bin/env bash
# Brings one environment up on this server; make compose calls it.
set -euo pipefail
CDPATH='' cd "$(dirname "$0")/.."

action="start ${1:-an environment}"
# shellcheck source=scripts/lib/compose.sh
source scripts/lib/compose.sh
case "${1:-}" in
    -h | --help) printf 'Usage: scripts/up.sh ENVIRONMENT\n\nInitialise an environment, start it, and print its address.\n'; exit 0 ;;
esac
environment=${1:-}
require_environment "$environment"
scripts/init_airflow.sh "$environment"
require_docker
compose "$environment" up --detach --wait --wait-timeout 300

settings=environments/$environment/settings.env
value() { sed -n "s/^$1=//p" "$settings"; }
printf '%s is up: http://%s:%s, user airflow' "$environment" "$(value WEB_HOST)" "$(value WEB_PORT)"
if [ -n "$(value DEFAULT_PASSWORD)" ]; then
    printf ', password %s\n' "$(value DEFAULT_PASSWORD)"
else
    # Not into a log that somebody keeps: the command that shows it, instead of the password.
    printf '; its password: docker compose -p visage-%s exec airflow-webserver cat /opt/visage/private/passwords.json\n' "$environment"
fi
