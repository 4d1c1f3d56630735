# shellcheck shell=bash
# Functions of the scripts for Docker Compose. A script sources this file in the checkout, with its action in $action.

# End with the reason, and the next command.
fail() {
    # shellcheck disable=SC2154
    printf 'Cannot %s: %s\nNext: %s\n' "$action" "$1" "$2" >&2
    exit 1
}

compose_command=(docker compose)

require_docker() {
    command -v docker >/dev/null || fail "docker is not on PATH; https://docs.docker.com/engine/install/ installs it" "docker info"
    docker info >/dev/null 2>&1 || fail "the Docker engine does not answer, or you are not one of its users" "sudo systemctl start docker"
    docker compose version >/dev/null 2>&1 || compose_command=(docker-compose)
    local version
    version=$("${compose_command[@]}" version --short 2>/dev/null) ||
        fail "Docker Compose is not installed; https://docs.docker.com/compose/install/ has it" "docker compose version"
    version=${version#v}
    # The first version that accepts a list of env_file in include, as docker-compose.yml has it.
    printf '2.24\n%s\n' "$version" | sort --check=quiet --version-sort ||
        fail "Docker Compose $version is too old; https://docs.docker.com/compose/install/ has 2.24 or later" \
            "docker compose version"
}

require_environment() {
    local path there=()
    for path in environments/*/settings.env; do
        path=${path#environments/}
        there+=("${path%/settings.env}")
    done
    case " ${there[*]} " in
        *" ${1:-/} "*) ;;
        *) fail "${1:-no name} is no environment; there are ${there[*]}" "$0 ${there[0]}" ;;
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
                fail "environments/$1/release.yaml names the image $runtime, and .env does not name its repository" \
                    "echo VISAGE_IMAGE=REGISTRY/NAME >> .env"
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
