#!/usr/bin/env bash
# Takes from npm what is committed of its packages: the viewer that /docs shows the
# API with, and axe, which the tests of pages check accessibility with. npm holds
# each package against the SHA-512 in package-lock.json and runs no script of it;
# SHA512SUMS beside the files is what the tests hold them against.
set -euo pipefail
cd "$(dirname "$0")"

root=$(cd ../../.. && pwd)
command -v npm >/dev/null || { echo "The command npm is missing: install Node.js (https://nodejs.org)."; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp .npmrc package.json package-lock.json "$work"
(cd "$work" && npm ci --silent)

# take PACKAGE FOLDER FILE… replaces what the folder has of the package.
take() {
  local from=$work/node_modules/$1 to=$root/$2
  shift 2
  mkdir -p "$to"
  for file; do
    install -m 644 "$from/$file" "$to/$file"
  done
  (cd "$to" && sha512sum -- "$@" >SHA512SUMS)
}

take swagger-ui-dist internal/portal/reference/swagger-ui \
  swagger-ui-bundle.js swagger-ui.css LICENSE NOTICE swagger-ui-bundle.js.LICENSE.txt
take axe-core internal/testing/browsertest/axe \
  axe.min.js LICENSE LICENSE-3RD-PARTY.txt
