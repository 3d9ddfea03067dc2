#!/usr/bin/env bash
# Builds what the tests and `make run` need of a control plane (etcd,
# kube-apiserver, kube-controller-manager, kubectl) from their Go modules and
# prints the folder that holds it. What a build made is kept in the user's cache
# directory, by the hash of what went into it. Binaries that KUBEBUILDER_ASSETS
# has are used instead of building them.
set -euo pipefail

version=v1.37.2
here=$(cd "$(dirname "$0")" && pwd)
say() { printf '%s\n' "$*" >&2; }

command -v go >/dev/null || { say "The command go is missing: install Go 1.26 or later (https://go.dev/doc/install)."; exit 1; }

key=$({ go env GOVERSION GOOS GOARCH; cat "$here"/go.mod "$here"/go.sum "$here"/*/main.go; echo "$version ${KUBEBUILDER_ASSETS:-}"; } | git hash-object --stdin | cut -c1-16)
cache=${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME: the built binaries are kept below it}/.cache}/latchkey/controlplane
out=$cache/$key

# build NAME PACKAGE makes out/NAME, all or nothing.
build() {
  [ -x "$out/$1" ] && return
  mkdir -p "$out"
  if [ -x "${KUBEBUILDER_ASSETS:-/nonexistent}/$1" ]; then
    ln -sfn "$KUBEBUILDER_ASSETS/$1" "$out/$1"
    return
  fi
  say "Building $1 from source. This happens once and takes some minutes …"
  local started=$SECONDS v=k8s.io/component-base/version partial
  partial=$(mktemp "$out/.$1.XXXXXX")
  # shellcheck disable=SC2064 # expanded now: the name is local
  trap "rm -f '$partial'" EXIT
  (cd "$here" && CGO_ENABLED=0 GOWORK=off GOFLAGS=-buildvcs=false go build -trimpath \
    -ldflags "-s -w -X $v.gitVersion=$version -X $v.gitMajor=1 -X $v.gitMinor=37 -X $v.gitTreeState=clean" \
    -o "$partial" "$2") || { say "Building $1 failed; what the compiler said stands above."; exit 1; }
  chmod 755 "$partial"
  mv "$partial" "$out/$1"
  trap - EXIT
  say "Built $1 in $((SECONDS - started)) s."
}

build etcd go.etcd.io/etcd/server/v3
build kube-apiserver ./kube-apiserver
build kube-controller-manager ./kube-controller-manager
build kubectl ./kubectl
printf '%s\n' "$out"
