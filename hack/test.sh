#!/usr/bin/env bash
# Runs tests: hack/test.sh those of `make test`, hack/test.sh system those of
# `make test-system`. Arguments for `go test` run others: hack/test.sh -run TestX ./pkg.
#
# Packages whose own code starts goroutines, or protects data from them, run with the race
# detector. The others are compiled
# as `make run` compiles them, so that nothing is compiled twice.
# shellcheck disable=SC2086 # lists of folders are strings; no folder has a space in its name
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin # nginx and HAProxy are there on Debian

# Suites that run several of our processes together. The first two lanes run side by side;
# the modules follow in the second one.
lane_1="./test/faults ./test/secretscanners"
lane_2="./test/story ./test/plaintext ./test/attacks ./test/uninstall ./test/gateways"
modules="hack/release hack/bench"

failed=0
lane=''

# `go test` ends by itself with Ctrl-C, and bash would go on with the next one.
trap 'exit 130' INT
trap 'exit 143' TERM
trap end_lane EXIT

# end_lane ends the suites that run beside others, and waits until they have cleaned up.
end_lane() {
  if [ -n "$lane" ] && kill -- "-$lane" 2>/dev/null; then wait "$lane" || true; fi
}

main() {
  local suite=test
  if [ "${1:-}" = system ]; then
    suite=system
    shift
  fi
  read_arguments "$@"
  if [ -n "$patterns" ]; then suite=chosen; fi
  "run_$suite"
  exit "$failed"
}

# read_arguments sorts arguments for `go test` into patterns of packages and options.
read_arguments() {
  patterns=''
  read -ra options <internal/testing/programs/flags.txt
  while [ $# -gt 0 ]; do
    case $1 in
    -args | --args)
      options+=("$@")
      return
      ;;
    . | ./* | github.com/*) patterns+=" $1" ;;
    *) options+=("$1") ;;
    esac
    shift
  done
}

run_test() {
  local all
  all=$(folders ./...)
  run $(grep -vxF "$(printf '%s\n' $lane_1 $lane_2 ./test/e2e)" <<<"$all")
}

run_system() {
  local module
  prepare $lane_1 $lane_2 $(printf './%s ' $modules)
  # In a process group of its own, where Ctrl-C does not reach it: the trap ends it.
  set -m
  (plain . 1 $lane_1; exit "$failed") &
  lane=$!
  set +m
  plain . 1 $lane_2
  for module in $modules; do plain "$module" 1 ./...; done
  wait "$lane" || failed=1
  lane=''
}

run_chosen() {
  local pattern module here=''
  for pattern in $patterns; do
    for module in $modules; do
      case $pattern/ in
      "./$module/"*)
        prepare "./$module"
        plain "$module" 2 ".${pattern#"./$module"}"
        continue 2
        ;;
      esac
    done
    here+=" $pattern"
  done
  if [ -n "$here" ]; then
    here=$(folders $here)
    run $here
  fi
}

# run runs the tests of folders of this module.
run() {
  local raced others
  prepare "$@"
  raced=$(concurrent "$@")
  others=$(printf '%s\n' "$@" | grep -vxF "$raced" || true)
  if [ -n "$others" ]; then plain . 2 $others; fi
  if [ -n "$raced" ]; then race . 2 $raced; fi
}

# plain MODULE PROCESSES PACKAGE... runs tests without the race detector.
plain() {
  CGO_ENABLED=0 go_test "$@"
}

race() {
  local compiler
  compiler=$(go env CC)
  if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "${compiler%% *}" >/dev/null; then
    go_test "$@" -race
  else
    say "There is no C compiler here (${compiler%% *}): these tests run without the race detector."
    plain "$@"
  fi
}

go_test() {
  local module=$1 processes=$2 limit=10m # after which a package counts as hung
  shift 2
  case " $* " in *" ./test/faults "*) limit=20m ;; esac # some thirty scenarios, one after the other
  go test -C "$module" -p "$processes" -timeout "$limit" "$@" "${options[@]}" || failed=1
}

# prepare builds what the tests of folders start, and says which tests are left out because
# a program is missing here.
prepare() {
  local lines line name chromium=${CHROMIUM:-}
  if [ -n "$(using 'testenv\.Run\(|controlplane\.Start\(|InstallPrograms\(|hack/run"' "$@")" ]; then
    KUBEBUILDER_ASSETS=$(bash hack/controlplane/build.sh)
    export KUBEBUILDER_ASSETS
  fi
  if [ -n "$(using 'InstallPrograms\(|DependOnPrograms\(|LATCHKEY_TEST_PROGRAM' "$@")" ]; then
    lines=$(bash hack/testprograms.sh)
    while IFS= read -r line; do export "${line?}"; done <<<"$lines"
  fi
  [ "${CI:-}" != true ] || return 0 # there it is a fault
  for name in chromium chromium-browser google-chrome-stable google-chrome; do # as internal/testing/browsertest
    [ -n "$chromium" ] || chromium=$(command -v "$name" || true)
  done
  [ -n "$chromium" ] || say_left_out "Chromium here (Debian's package chromium): the tests that open pages in it" 'browsertest\.Open\(' "$@"
  for name in nginx haproxy; do
    command -v "$name" >/dev/null || say_left_out "$name here (Debian's package of this name): the tests behind it" "\"$name\"" $(using "exec\.LookPath" "$@")
  done
}

say_left_out() {
  local what=$1 found
  shift
  found=$(using "$@")
  if [ -n "$found" ]; then say "There is no $what are left out, of:"$'\n'"$found"; fi
}

# folders prints the folders of packages, from here.
folders() { go list "$@" | sed 's|^github.com/latchkey-dev/latchkey|.|'; }

# using REGEXP FOLDER... prints the folders whose tests match.
using() {
  local regexp=$1 folder
  shift
  for folder in "$@"; do
    if grep -qsE "$regexp" "$folder"/*_test.go; then echo "$folder"; fi
  done
}

# concurrent FOLDER... prints the folders whose code starts goroutines, or protects data
# that several use.
concurrent() {
  local folder
  for folder in "$@"; do
    if [ -n "$(find "$folder" -maxdepth 1 -name '*.go' ! -name '*_test.go' \
      -exec grep -lE '^[[:space:]]*go [a-zA-Z]|"sync(/atomic)?"|"golang.org/x/sync/' {} +)" ]; then
      echo "$folder"
    fi
  done
}

say() { printf '%s\n' "$*" >&2; }

main "$@"
