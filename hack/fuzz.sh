#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME each. What one finds is kept in
# its package's testdata/fuzz: commit it with the mend.
set -euo pipefail
cd "$(dirname "$0")/.."

while IFS=: read -r file target; do
  package=./$(dirname "$file")
  echo "== $package $target"
  go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" -fuzzminimizetime 1s
done < <(git ls-files '*_test.go' | xargs grep -Eo '^func Fuzz[A-Za-z0-9_]*' | sed 's/func //' | sort)
