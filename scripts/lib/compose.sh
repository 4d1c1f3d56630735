# shellcheck shell=bash
# Functions of the scripts for Docker Compose. A script that defines fail() sources this file in the checkout.

compose_command=(docker compose)

require_docker() {
    command -v docker >/dev/null || fail "docker: not on PATH; see https://docs.docker.com/engine/install/"
    docker info >/dev/null 2>&1 || fail "docker: the engine does not answer; start it, and be one of its users"
    docker compose version >/dev/null 2>&1 || compose_command=(docker-compose)
    local version
    version=$("${compose_command[@]}" version --short 2>/dev/null) ||
        fail "docker compose: not installed; see https://docs.docker.com/compose/install/"
    version=${version#v}
    # The first version that accepts a list of env_file in include, as docker-compose.yml has it.
    printf '2.24\n%s\n' "$version" | sort --check=quiet --version-sort ||
        fail "docker compose $version: too old, 2.24 or later is needed; see https://docs.docker.com/compose/install/"
}

require_environment() {
    local path there=()
    for path in environments/*/settings.env; do
        path=${path#environments/}
        there+=("${path%/settings.env}")
    done
    case " ${there[*]} " in
        *" ${1:-/} "*) ;;
        *) fail "${1:-no environment}: name one of: ${there[*]}" ;;
    esac
}

# Print the value of a name in .env, or nothing.
setting() {
    sed -n "s/^$1=//p" .env | tail -n 1
}

# Docker Compose for one environment: compose ENVIRONMENT ARGUMENT...
compose() {
    local environment=$1
    shift
    VISAGE_ENVIRONMENT=$environment "${compose_command[@]}" "$@"
}
