#!/usr/bin/env bash
# Checks that what is generated, the formatting and the go.mod files are what the
# tools would make of the tree as it is, committed or not. Changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

generated=(api config/crd/bases internal/portal/tokenapi)
modules=(. hack/bench hack/controlplane hack/release hack/tools hack/tools/golangci-lint hack/tools/govulncheck hack/tools/h2spec hack/tools/helm hack/tools/kube-api-linter hack/tools/kube-score hack/tools/oapi-codegen hack/tools/openapi-validate hack/tools/promql hack/tools/typecheck)

failed=0
wrong() { printf '%s\n' "$*" >&2; failed=1; }

sources() {
  git ls-files -z --cached --others --exclude-standard -- "$@" |
    while IFS= read -r -d '' file; do
      if [ -e "$file" ]; then printf '%s\0' "$file"; fi
    done
}

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
sources | tar -c --null -T - | tar -x -C "$copy"

echo "Generating into a copy …"
find "$copy/api" "$copy/internal/portal/tokenapi" -name 'zz_generated.*' -exec rm {} +
rm -rf "$copy/api/v1alpha1/applyconfiguration" "$copy"/config/crd/bases/*
make --no-print-directory -s -C "$copy" generate manifests
for dir in "${generated[@]}"; do
  diff -ru "$dir" "$copy/$dir" >&2 || wrong "$dir is not up to date: run make generate manifests, and remove what is only in $dir."
done

echo "Checking the formatting …"
unformatted=$(sources '*.go' | xargs -0 gofmt -l)
[ -z "$unformatted" ] || wrong "Not formatted; run gofmt -w on:" $'\n'"$unformatted"

for module in "${modules[@]}"; do
  echo "Checking $module/go.mod …"
  (cd "$module" && go mod tidy -diff >&2) || wrong "$module/go.mod or go.sum is not tidy: run go mod tidy in $module."
done

# Otherwise `make run` compiles what both modules use twice.
echo "Checking that the control plane uses the same modules as Latchkey …"
used() {
  (cd "$1" && go list -deps -f '{{with .Module}}{{.Path}} {{with .Replace}}{{.Version}}{{else}}{{.Version}}{{end}}{{end}}' ./...) | LC_ALL=C sort -u
}
different=$(LC_ALL=C join <(used .) <(used hack/controlplane) | awk '$2 != $3 { print "  " $1 ": " $2 " in go.mod, " $3 " in hack/controlplane/go.mod" }')
[ -z "$different" ] || wrong "These modules must have the same version in go.mod and hack/controlplane/go.mod:" $'\n'"$different"

# To compile it all for these platforms would take ten times as long.
go build -C hack/tools/typecheck -o "$copy/typecheck" .
for platform in linux/arm64 darwin/arm64; do
  echo "Checking the types for $platform …"
  check() { CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} "$copy/typecheck" "$@" >&2; }
  check . ./cmd/... ./hack/run/... || wrong "Latchkey's programs, or those of make run, do not compile for $platform."
  check hack/controlplane . || wrong "The control plane does not compile for $platform."
done

[ "$failed" = 0 ] || exit 1
echo "Everything is up to date."
