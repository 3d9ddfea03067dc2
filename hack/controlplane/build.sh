#!/usr/bin/env bash
# Prints the folder that holds the tests' control plane: etcd, kube-apiserver,
# kube-controllers and kubectl. What this machine lacks of them is built from Go modules
# and kept in the user's cache directory; see internal/testing/programs.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash hack/run/need-go.sh
# shellcheck disable=SC2046 # they are several flags
CGO_ENABLED=0 exec go run $(cat internal/testing/programs/flags.txt) ./hack/run/build controlplane
