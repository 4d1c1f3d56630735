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

# Print the runtime that the release file of an environment names, or nothing. Without a repository of your own, main is
# that of .compose/origin.git; with one, it is that of this checkout.
named_runtime() {
    local file=environments/$1/release.yaml origin=.compose/origin.git
    if [ -d "$origin" ] && grep -q '^AIRFLOW_CONN_GIT_DEFAULT=.*git://git/origin.git' .env; then
        git -C "$origin" show "main:$file"
    else
        cat "$file"
    fi | sed -n 's/^runtime: *//p'
}

# Print the image of an environment: that of VISAGE_IMAGE in .env, with the digest that the release file names.
image_of() {
    local image runtime last
    image=${VISAGE_IMAGE:-$(setting VISAGE_IMAGE)}
    runtime=$(named_runtime "$1")
    case $runtime in
        sha256:*)
            [ -n "$image" ] ||
                fail "environments/$1/release.yaml names the image $runtime: name its repository with VISAGE_IMAGE in .env"
            image=${image%@*}
            last=${image##*/}
            printf '%s@%s\n' "${image%"$last"}${last%%:*}" "$runtime"
            ;;
        *) printf '%s\n' "$image" ;;
    esac
}

# Docker Compose for one environment: compose ENVIRONMENT ARGUMENT...
compose() {
    local environment=$1 image runtime
    shift
    image=$(image_of "$environment")
    runtime=$(named_runtime "$environment")
    # The name of an image that was built here is that of its lock, which it knows itself.
    case $runtime in sha256:*) export VISAGE_RUNTIME=$runtime ;; esac
    VISAGE_IMAGE=$image VISAGE_ENVIRONMENT=$environment "${compose_command[@]}" "$@"
}
