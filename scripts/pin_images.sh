#!/usr/bin/env bash
# Writes the digest of each base image behind its tag, in every file that names the image.
set -euo pipefail
CDPATH='' cd "$(dirname "$0")/.."

fail() { printf 'Cannot pin the base images: %s\nNext: %s\n' "$1" "$2" >&2; exit 1; }
command -v docker >/dev/null || fail "docker is not on PATH; https://docs.docker.com/engine/install/ installs it" "docker info"

files=(infra/airflow/Dockerfile infra/compose/services.yml infra/kubernetes/drill/drill.yaml)
images=$(grep -hoE '(python|postgres|redis):[0-9][a-z0-9.-]*' "${files[@]}" | sort -u)
for image in $images; do
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image") ||
        fail "the registry does not tell the digest of $image" "make pin-images"
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || fail "the registry answers $digest for $image, which is no digest" "make pin-images"
    sed -i.bak -E "s|${image//./\\.}(@sha256:[0-9a-f]{64})?([^a-z0-9.@-]\|$)|$image@$digest\\2|" "${files[@]}"
    printf '%s@%s\n' "$image" "$digest"
done
rm -f "${files[@]/%/.bak}"
