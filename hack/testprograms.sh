#!/usr/bin/env bash
# Builds programs of this repository for the tests that start them, and prints lines
# NAME=VALUE for the environment of `go test`:
#
#   LATCHKEY_TEST_PROGRAMS             the folder with the programs
#   LATCHKEY_TEST_PROGRAM_APISERVER    the build ID of one of them; a line for each
#
# Go's test cache notes which variables a test reads. So the tests that start a program run
# again when it has changed, and the others do not. The folder may have spaces in its name:
# export each line as a whole. See internal/testing/controlplane/programs.go.
#
# usage: hack/testprograms.sh [FOLDER [PROGRAM...]]
# The folder is bin/test unless it is named. All programs are built unless some are named.
# A name that ends with -faults is a program with fault points (internal/fault).
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-$PWD/bin/test}
[ $# = 0 ] || shift
[ $# -gt 0 ] || set -- manager apiserver kubectl-latchkey run flooder manager-faults apiserver-faults

normal=()
faults=()
for program in "$@"; do
  case $program in
  manager | apiserver | kubectl-latchkey) normal+=("./cmd/$program") ;;
  run) normal+=(./hack/run) ;;
  flooder) normal+=(./test/attacks/flooder) ;;
  manager-faults | apiserver-faults) faults+=("./cmd/${program%-faults}") ;;
  *)
    echo "hack/testprograms.sh: there is no program $program" >&2
    exit 1
    ;;
  esac
done

# The flags are those of `make run`: what it has compiled is not compiled again. Tests that
# look at the version expect this one.
export CGO_ENABLED=0 GOWORK=off
read -ra flags <internal/testing/programs/flags.txt
build=(go build "${flags[@]}"
  -ldflags '-s -w -X github.com/latchkey-dev/latchkey/internal/buildinfo.version=v9.9.9')
mkdir -p "$folder/faults"
if [ ${#normal[@]} -gt 0 ]; then
  "${build[@]}" -o "$folder/" "${normal[@]}" >&2
fi
if [ ${#faults[@]} -gt 0 ]; then
  "${build[@]}" -tags faultpoints -o "$folder/faults/" "${faults[@]}" >&2
fi

echo "LATCHKEY_TEST_PROGRAMS=$folder"
for program in "$@"; do
  case $program in
  *-faults)
    rm -f "$folder/$program"
    ln "$folder/faults/${program%-faults}" "$folder/$program"
    ;;
  esac
  variable=$(tr a-z- A-Z_ <<<"$program")
  echo "LATCHKEY_TEST_PROGRAM_$variable=$(go tool buildid "$folder/$program")"
done
