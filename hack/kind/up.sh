#!/usr/bin/env bash
# Makes a kind cluster with Traefik as its Ingress controller, and makes it current.
set -euo pipefail
cd "$(dirname "$0")"

fail() { printf 'make kind-up: %s\n' "$*" >&2; exit 1; }
command -v kind >/dev/null || fail "the command kind is missing: see https://kind.sigs.k8s.io/docs/user/quick-start/"
command -v kubectl >/dev/null || fail "the command kubectl is missing"
for engine in docker podman nerdctl none; do
  if [ $engine = none ]; then fail "kind needs a container engine, and there is no docker, podman or nerdctl"; fi
  if command -v $engine >/dev/null; then break; fi
done
[ $engine = docker ] || export KIND_EXPERIMENTAL_PROVIDER=${KIND_EXPERIMENTAL_PROVIDER:-$engine}

kind get clusters | grep -qx latchkey || kind create cluster --config cluster.yaml --wait 2m
kubectl config use-context kind-latchkey
kubectl apply -f traefik.yaml
kubectl -n ingress rollout status deployment/traefik --timeout=3m
