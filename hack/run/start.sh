#!/usr/bin/env bash
# What `make run` does: builds the small program that builds everything else, and becomes it.
set -euo pipefail
cd "$(dirname "$0")/../.."

dir=${RUN_DIR:-.run}/programs
if ! mkdir -p "$dir"; then
  echo "make run: make the folder $dir writable, or choose another place for the files of the run with RUN_DIR." >&2
  exit 1
fi
[ -e "$dir/build" ] || echo "  Compiling the program that builds everything else; the first time this takes some seconds …" >&2
# shellcheck disable=SC2046 # they are several flags
if ! said=$(CGO_ENABLED=0 go build $(cat internal/testing/programs/flags.txt) -o "$dir/build" ./hack/run/build 2>&1); then
  case $said in
  *"no space left"* | *"quota exceeded"*)
    said="the disk is full: free some space, or choose another disk for Go's files with GOCACHE and TMPDIR. Go says: ${said##*$'\n'}" ;;
  esac
  printf 'make run: %s\n' "$said" >&2
  exit 1
fi
exec "$dir/build" run
