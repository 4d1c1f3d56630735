#!/usr/bin/env bash
# Prints the name and the sources of the image of a tag, as lines for GITHUB_OUTPUT; make image-facts calls it.
set -euo pipefail
CDPATH='' cd "$(dirname "$0")/.."

owner=${OWNER:?say whose registry, as in OWNER=visage}
tag=${TAG:?say the tag, as in TAG=v1.2.3}
[[ "$tag" =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
    { printf 'image_facts.sh: %s: not v<major>.<minor>.<patch>\n' "$tag" >&2; exit 1; }
lock=$(sha256sum <requirements.lock | cut -d ' ' -f 1)
printf 'image=ghcr.io/%s/visage-airflow\nversion=%s\nlock=%s\n' \
    "$(tr '[:upper:]' '[:lower:]' <<<"$owner")" "${tag#v}" "$lock"
