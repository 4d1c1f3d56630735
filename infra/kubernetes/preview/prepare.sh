#!/bin/sh
# Makes the empty repository of a preview. `gitops preview up` pushes the release into it.
set -eu
[ -d /srv/origin.git ] && exit 0
git init --quiet --bare --initial-branch=main /srv/unfinished.git
git -C /srv/unfinished.git config uploadpack.allowAnySHA1InWant true
git -C /srv/unfinished.git config receive.fsckObjects true
git -C /srv/unfinished.git config receive.maxInputSize 1g
git -C /srv/unfinished.git config gc.auto 0
mv /srv/unfinished.git /srv/origin.git
