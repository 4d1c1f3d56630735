#!/usr/bin/env bash
# Makes this machine ready for `docker compose up -d`. You can run it again at any time: it adds missing parts.
set -euo pipefail
CDPATH='' cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
Usage: scripts/init_airflow.sh [ENVIRONMENT]

Make this machine ready to run an environment of environments/ (default: dev) with Docker Compose:

  1. check Docker, Docker Compose and git
  2. write .env from .env.example, with generated secrets and your user's number (existing lines stay)
  3. make .compose/: the git repository and the store of models that the environments share, and add the
     repository to this checkout as the git remote compose (run by root: also to git's safe.directory)
  4. build the image, or pull the one that VISAGE_IMAGE in .env and the release file name
  5. make the key with which the environment signs its verdicts, and list it on main of .compose/origin.git
  6. start the database and bring it to this Airflow's tables

Files, secrets and data that exist are not changed. See docs/compose.md.
TEXT
}

say() { printf '%s\n' "$*"; }
action="make this machine ready for ${1:-dev}"

# shellcheck source=scripts/lib/compose.sh
source scripts/lib/compose.sh
case "${1:-}" in -h | --help) usage; exit 0 ;; esac
[ $# -le 1 ] || fail "$2 is a second environment; name one" "scripts/init_airflow.sh $1"
environment=${1:-dev}
require_environment "$environment"
require_docker
command -v git >/dev/null || fail "git is not on PATH; install it" "git --version"
git rev-parse --verify --quiet HEAD >/dev/null ||
    fail "$PWD is no clone of the repository" "git clone ADDRESS"

# --- .env
made_up() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
owner=$(id -u)
[ "$owner" != 0 ] || owner=50000 # containers do not run as root
umask 077
[ -f .env ] || { sed -E 's/^([A-Z_]+)=$/#\1=/' .env.example >.env.partial && mv .env.partial .env; }
added=()
provide() {
    if ! grep -qE "^$1=." .env; then
        { grep -vE "^#?$1=$" .env || [ $? = 1 ]; printf '%s=%s\n' "$1" "$2"; } >.env.partial
        mv .env.partial .env
        added+=("$1")
    fi
}
provide AIRFLOW_UID "$owner"
provide POSTGRES_PASSWORD "$(made_up)"
provide REDIS_PASSWORD "$(made_up)"
provide AWS_ACCESS_KEY_ID "visage-$(made_up | cut -c 1-12)"
provide AWS_SECRET_ACCESS_KEY "$(made_up)"
# Earlier versions mounted the folder into every container.
if grep -q '^AIRFLOW_CONN_GIT_DEFAULT=.*"/opt/visage/origin.git"' .env; then
    sed 's#"/opt/visage/origin.git"#"git://git/origin.git"#' .env >.env.partial
    mv .env.partial .env
    added+=(AIRFLOW_CONN_GIT_DEFAULT)
fi
provide AIRFLOW_CONN_GIT_DEFAULT '{"conn_type": "git", "host": "git://git/origin.git"}'
chmod 600 .env
if [ ${#added[@]} = 0 ]; then say ".env: complete"; else say ".env: wrote ${added[*]}"; fi

# --- The parts that environments share
mkdir -p .compose/store/visage .compose/celeba
# The engine of Docker, which is root, mounts the folders in it; no other user needs to pass.
chmod 700 .compose || fail ".compose belongs to another user, who has to close it" "sudo chmod 700 $PWD/.compose"
origin=.compose/origin.git
if [ -d "$origin" ]; then
    say "$origin: was there"
else
    unfinished=.compose/origin.unfinished
    rm -rf "$unfinished"
    git init --quiet --bare --initial-branch=main "$unfinished"
    git -C "$unfinished" config uploadpack.allowAnySHA1InWant true
    git -C "$unfinished" config receive.shallowUpdate true
    # Where root runs gitops here, the containers, whose group is root's too, must be able to write beside it.
    git -C "$unfinished" config core.sharedRepository group
    # Nothing here is ever the only copy for long enough to need collecting while others read it.
    git -C "$unfinished" config gc.auto 0
    git -C "$unfinished" fetch --quiet --no-tags --update-shallow "$PWD" HEAD:refs/heads/main
    mv "$unfinished" "$origin"
    say "$origin: made, its main is your commit $(git rev-parse --short=12 HEAD)"
fi
# As a forge does: no broken objects, no huge pushes, and a main that only grows.
git -C "$origin" config receive.fsckObjects true
git -C "$origin" config receive.maxInputSize 1g
git -C "$origin" config receive.denyDeleteCurrent refuse
mkdir -p "$origin/hooks"
cp infra/git/update "$origin/hooks/update"
# The DVC remote of gitops on this server
remote=$(setting DVC_REMOTE_URL)
mkdir -p .compose/dvc-config
printf '[core]\n    remote = storage\n    analytics = false\n[%s]\n    url = "%s"\n' \
    "'remote \"storage\"'" "${remote:-$PWD/.compose/store/visage}" >.compose/dvc-config/config.partial
mv .compose/dvc-config/config.partial .compose/dvc-config/config
if [ "$(id -u)" = 0 ]; then
    chown -R "$(setting AIRFLOW_UID):0" .compose
    # git refuses root a repository that is not root's.
    git config --global --get-all safe.directory | grep -qxF "$(realpath "$origin")" ||
        git config --global --add safe.directory "$(realpath "$origin")"
fi
if ! git remote get-url compose >/dev/null 2>&1; then
    git remote add compose "$(realpath "$origin")"
    say "git remote compose: added to this checkout"
fi

# --- The image, the database
image=$(image_of "$environment")
if [ -n "$image" ]; then
    docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image"
else
    lock=lock:$(sha256sum <requirements.lock | cut -d ' ' -f 1)
    case $(named_runtime "$environment") in
        "" | "$lock") ;;
        *) say "environments/$environment/release.yaml names another runtime than this checkout has:" \
            "$environment keeps its present release until you have checked out the commit of that requirements.lock" ;;
    esac
    say "building the image"
    LOCK_SHA256=$(sha256sum <requirements.lock | cut -d ' ' -f 1) REVISION=$(git rev-parse HEAD) \
        compose "$environment" build --quiet airflow-init
fi
compose "$environment" run --rm --quiet-pull airflow-init
# From which commit on gitops on this server, outside of the containers, wants to see signatures.
if root=$(git -C "$origin" config visage.trustRoot); then
    git config remote.compose.trustRoot "$root"
fi

name=()
[ "$environment" = dev ] || name=(--env-file "environments/$environment/settings.env")
say "$environment is ready: ${compose_command[*]} ${name[*]+"${name[*]} "}up -d"
