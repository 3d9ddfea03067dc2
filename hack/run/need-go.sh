#!/usr/bin/env bash
# Says what to do if Go is missing, or older than go.mod asks for and unable to get a newer
# one by itself.
set -euo pipefail
cd "$(dirname "$0")/../.."

want=$(awk '$1 == "go" { print $2; exit }' go.mod)
fail() { printf '%s\n' "$*" >&2; exit 1; }

command -v go >/dev/null || fail "The command go is missing: install Go $want or later (https://go.dev/doc/install)."

# Go 1.21 and later get the version that go.mod asks for, unless GOTOOLCHAIN forbids it or
# there is no network. Older ones do not even understand the question.
if ! have=$(go env GOVERSION 2>&1); then
  fail "Latchkey needs Go $want or later, and the installed Go could not get it: install it from https://go.dev/dl. Go says: ${have##*$'\n'}"
fi
older=$(printf '%s\n%s\n' "${have##*go}" "$want" | awk -F '[.a-z-]' '
  NR == 1 { major = $1; minor = $2; patch = $3 + 0 }
  NR == 2 { print (major < $1 || major == $1 && (minor < $2 || minor == $2 && patch < $3 + 0)) }')
[ "$older" = 0 ] || fail "Latchkey needs Go $want or later, and this is Go ${have#go}: install it from https://go.dev/dl. (Go 1.21 and later download it by themselves if there is a network and GOTOOLCHAIN is auto.)"
