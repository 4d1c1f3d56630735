#!/bin/sh
# Stands before make on the PATH of a job: targets that take minutes are only looked up, unless a test has another
# script for them in $REPLACED.
set -eu
make="/usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin make"
for target in "$@"; do
	if [ -e "$REPLACED/$target" ]; then
		sh -eu "$REPLACED/$target"
		continue
	fi
	$make --dry-run "$target" > /dev/null
	case "$target" in
	setup*)
		# The virtual environment of the tests, with the code of the checkout.
		mkdir -p .venv/bin
		printf '#!/bin/sh\nPYTHONPATH="%s/src" exec "%s" -m gitops "$@"\n' "$PWD" "$PYTHON" > .venv/bin/gitops
		chmod +x .venv/bin/gitops
		;;
	cml)
		mkdir -p .venv/bin
		printf '#!/bin/sh\nexec "%s" "%s/cml.py" "$@"\n' "$PYTHON" "$COMMANDS" > .venv/bin/cml
		chmod +x .venv/bin/cml
		;;
	esac
done
