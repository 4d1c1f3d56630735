#!/usr/bin/env bash
# Download CML, which posts reports, to .venv/bin/cml: the release and the SHA-256 of infra/cml.txt, or nothing.
# With --pin, write the SHA-256 of that release into infra/cml.txt instead.
set -euo pipefail
CDPATH='' cd "$(dirname "$0")/.."

read -r version digest < <(grep --invert-match '^#' infra/cml.txt)
url="https://github.com/iterative/cml/releases/download/v$version/cml-linux-x64"
if [[ ${1-} != --pin && ! $digest =~ ^[0-9a-f]{64}$ ]]; then
	printf 'Cannot install CML: infra/cml.txt has no SHA-256 of CML %s; write it where GitHub can be reached\nNext: make pin-cml\n' "$version" >&2
	exit 1
fi
file=$(mktemp)
trap 'rm -f "$file"' EXIT
curl --fail --silent --show-error --location --output "$file" "$url"
read -r found _ < <(sha256sum "$file")
if [[ ${1-} == --pin ]]; then
	sed -i "s/^$version .*/$version $found/" infra/cml.txt
	echo "infra/cml.txt: CML $version is $found; compare it with the digest on the page of the release"
elif [[ $found == "$digest" ]]; then
	mkdir -p .venv/bin
	install -m 755 "$file" .venv/bin/cml
else
	printf 'Cannot install CML: the SHA-256 of %s is %s, and infra/cml.txt has %s; nothing was installed\nNext: git log -p infra/cml.txt\n' "$url" "$found" "$digest" >&2
	exit 1
fi
