#!/usr/bin/env bash
# Writes dist/install.yaml and the Helm chart from one source, config/. IMG is where
# the images are, VERSION their tag; DIST is the folder to write to.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${IMG:=ghcr.io/latchkey-dev}" "${VERSION:=dev}" "${DIST:=dist}"
mkdir -p "$DIST"

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r config "$copy/config"

# build FOLDER writes the objects of config/FOLDER with the images of this release.
build() {
  cat >"$copy/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [config/$1]
images:
- name: ghcr.io/latchkey-dev/latchkey-manager
  newName: $IMG/latchkey-manager
  newTag: "$VERSION"
- name: ghcr.io/latchkey-dev/latchkey-apiserver
  newName: $IMG/latchkey-apiserver
  newTag: "$VERSION"
END
  go tool -modfile=hack/tools/go.mod kustomize build "$copy"
}

build default >"$DIST/install.yaml"
echo "$DIST/install.yaml"
build chart >"$copy/chart.yaml"
go run ./hack/chart -version "$VERSION" -out "$DIST" <"$copy/chart.yaml"
