#!/usr/bin/env bash
# Scores what `make dist-manifests` installs, and fails on every warning. What is
# excepted for one object only is an annotation on it.
set -euo pipefail
cd "$(dirname "$0")/.."

dist=$(mktemp -d)
trap 'rm -rf "$dist"' EXIT
DIST=$dist bash hack/dist-manifests.sh >/dev/null

flags=(
  --exit-one-on-warning
  # A limit would throttle requests that share a node with idle CPUs; the requested
  # share is what protects the neighbours.
  --ignore-container-cpu-limit
  # Images have the tag of a release, which is never moved: a node that has one need
  # not ask a registry, which may be down just then.
  --ignore-test container-image-pull-policy
  # Topology spread does it, and across zones too.
  --ignore-test deployment-has-host-podantiaffinity
)
go tool -modfile=hack/tools/kube-score/go.mod kube-score score "${flags[@]}" --output-format ci "$dist/install.yaml" |
  { grep -v '^\[OK\]\|^\[SKIPPED\]' || true; }
echo "Nothing to complain about."
