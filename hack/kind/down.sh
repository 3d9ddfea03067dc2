#!/usr/bin/env bash
# Deletes the cluster of up.sh.
set -euo pipefail
command -v kind >/dev/null || { echo "make kind-down: the command kind is missing: see https://kind.sigs.k8s.io/docs/user/quick-start/" >&2; exit 1; }
exec kind delete cluster --name latchkey
