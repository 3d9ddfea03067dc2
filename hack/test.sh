#!/usr/bin/env bash
# Runs the tests, all of them unless arguments for `go test` say otherwise. They
# use a real control plane, which is built once and then cached.
set -euo pipefail
cd "$(dirname "$0")/.."

KUBEBUILDER_ASSETS=$(bash hack/controlplane/build.sh)
export KUBEBUILDER_ASSETS

compiler=$(go env CC)
if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "${compiler%% *}" >/dev/null; then
  race=true
else
  echo "There is no C compiler here (${compiler%% *}): the tests run without the race detector."
  export CGO_ENABLED=0
  race=false
fi

# As internal/testing/browsertest looks for it.
chromium=${CHROMIUM:-}
for name in chromium chromium-browser google-chrome-stable google-chrome; do
  [ -n "$chromium" ] || chromium=$(command -v "$name" || true)
done
if [ -z "$chromium" ] && [ "${CI:-}" != true ]; then
  echo "There is no Chromium here (Debian's package chromium): the tests that open pages in it are left out, of:"
  git grep -l --untracked 'browsertest\.Open(' -- '*_test.go' | xargs -n 1 dirname | sort -u | sed 's|^|  |'
fi

# On Debian they are there, which is in few users' PATH.
export PATH=$PATH:/usr/sbin
for proxy in nginx haproxy; do
  if ! command -v "$proxy" >/dev/null && [ "${CI:-}" != true ]; then
    echo "There is no $proxy here (Debian's package of this name): the tests behind it are left out, of:"
    git grep -l --untracked "\"$proxy\"" -- 'test/*_test.go' | xargs -n 1 dirname | sort -u | sed 's|^|  |'
  fi
done

if [ $# -gt 0 ]; then
  exec go test -race="$race" -p 2 -timeout 30m "$@"
fi
failed=0
go test -race="$race" -p 2 -timeout 30m ./... || failed=1
# A module of its own. Its test builds an image, for which it wants time.
go test -C hack/release -race="$race" -timeout 30m ./... || failed=1
exit "$failed"
