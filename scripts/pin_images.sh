#!/usr/bin/env bash
# Writes the digest of each base image behind its tag, in every file that names the image.
set -euo pipefail
CDPATH='' cd "$(dirname "$0")/.."

fail() { printf 'pin_images.sh: %s\n' "$*" >&2; exit 1; }
command -v docker >/dev/null || fail "docker: not on PATH; see https://docs.docker.com/engine/install/"

files=(infra/airflow/Dockerfile infra/compose/services.yml infra/kubernetes/drill/drill.yaml)
images=$(grep -hoE '(python|postgres|redis):[0-9][a-z0-9.-]*' "${files[@]}" | sort -u)
for image in $images; do
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image") ||
        fail "$image: the registry does not tell its digest; nothing was changed for it"
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || fail "$image: not a digest: $digest"
    sed -i.bak -E "s|${image//./\\.}(@sha256:[0-9a-f]{64})?([^a-z0-9.@-]\|$)|$image@$digest\\2|" "${files[@]}"
    printf '%s@%s\n' "$image" "$digest"
done
rm -f "${files[@]/%/.bak}"
