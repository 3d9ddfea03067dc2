#!/usr/bin/env bash
# Runs test/e2e on the cluster of the current kubeconfig. Without one that answers,
# it takes the scripts in REALCLUSTER, if they are at hand, which make a cluster of
# one node; it is taken down at the end if it was brought up here. Whatever is made
# is removed, also after a failure and Ctrl-C.
#
#   E2E_INSTALL          manifests, chart, or both as "manifests chart" (both)
#   E2E_LOGS             where pods' logs are kept (dist/e2e-logs)
#   E2E_INGRESS          the Ingress controller's address, port 443
#   E2E_TRUSTED_PROXIES  a CIDR with the addresses of its pods
#   E2E_LOAD             a command that gives the nodes an image from an archive
#   E2E_TRAEFIK_IMAGE    an image that the nodes have or can pull
#
# The last four are known for kind and for the scripts' cluster.
#   bash hack/e2e.sh --remove    removes what a run left that was killed
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'make e2e: %s\n' "$*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }

: "${REALCLUSTER:=../shared/realcluster}" "${E2E_INSTALL:=manifests chart}" "${E2E_LOGS:=dist/e2e-logs}"
export E2E_IMAGES=localhost/latchkey-e2e
namespaces=(latchkey-system latchkey-records example gateway globex-apps latchkey-e2e-killer tenant-acme tenant-initech)
work='' mine='' begun=''

cluster_scripts() { [ -x "$REALCLUSTER/up.sh" ]; }
# of_scripts NAME prints a setting of the cluster's scripts.
of_scripts() { (. "$REALCLUSTER/env.sh" && eval "printf %s \"\$$1\""); }
reachable() { kubectl --request-timeout=10s get --raw=/readyz >/dev/null 2>&1; }

# choose_cluster leaves kubectl with a cluster that answers.
choose_cluster() {
  if cluster_scripts; then PATH=$(of_scripts BIN):$PATH; fi
  if command -v kubectl >/dev/null && reachable; then return; fi
  cluster_scripts || fail "no cluster answers: make one current with kubectl, by \`make kind-up\` for example, or set REALCLUSTER to the folder of its scripts"
  KUBECONFIG=$(of_scripts KUBECONFIG_OUT)
  export KUBECONFIG
  if command -v kubectl >/dev/null && reachable; then return; fi
  say "Bringing up a cluster by $REALCLUSTER"
  mine=yes
  "$REALCLUSTER/up.sh"
}

# describe_cluster says how this kind of cluster is handled, unless the caller has.
describe_cluster() {
  local node
  node=$(kubectl get nodes -o 'jsonpath={.items[0].spec.providerID} {.items[0].metadata.labels.node\.kubernetes\.io/instance-type}')
  case $node in
    kind://*)
      command -v kind >/dev/null || fail "the cluster is kind's, and the command kind, which loads images, is missing"
      local name=${node#kind://*/}
      E2E_LOAD=${E2E_LOAD:-"kind load image-archive --name ${name%%/*}"}
      : "${E2E_INGRESS:=127.0.0.1}" "${E2E_TRUSTED_PROXIES:=10.244.0.0/16}" "${E2E_TRAEFIK_IMAGE:=docker.io/library/traefik:v3.6.12}" ;;
    *' realcluster')
      cluster_scripts || fail "the cluster's scripts are not in $REALCLUSTER: set REALCLUSTER to their folder"
      E2E_LOAD=${E2E_LOAD:-$REALCLUSTER/load-image.sh}
      : "${E2E_INGRESS:=$(of_scripts NODE_IP)}" "${E2E_TRUSTED_PROXIES:=$(of_scripts POD_CIDR)}" "${E2E_TRAEFIK_IMAGE:=localhost/realcluster/traefik:1}"
      kubectl -n ingress get deployment traefik >/dev/null 2>&1 ||
        INGRESS_ARGS=--providers.kubernetesingress.strictprefixmatching=true "$REALCLUSTER/ingress-up.sh" ;;
  esac
  [ -n "${E2E_LOAD:-}" ] || fail "this is neither kind's cluster nor that of the scripts: set E2E_LOAD to a command that loads an image's archive"
  [ -n "${E2E_INGRESS:-}" ] || fail "set E2E_INGRESS to the address of the Ingress controller"
  [ -n "${E2E_TRUSTED_PROXIES:-}" ] || fail "set E2E_TRUSTED_PROXIES to a CIDR with the Ingress controller's pods"
  [ -n "$(kubectl get ingressclasses -o name)" ] || fail "the cluster has no Ingress controller: docs/guides/kind.md says how to get one"
  export E2E_LOAD E2E_INGRESS E2E_TRUSTED_PROXIES E2E_TRAEFIK_IMAGE
}

# check_empty refuses a cluster in which something could be lost.
check_empty() {
  local there
  there=$(kubectl get namespaces "${namespaces[@]}" --ignore-not-found -o name
          kubectl get crds apitokens.latchkey.dev --ignore-not-found -o name)
  [ -z "$there" ] || fail "the cluster has $(echo $there): the test wants one without. If an earlier run left it, remove it by \`bash hack/e2e.sh --remove\`"
}

# remove takes away whatever a run makes, and what Latchkey made meanwhile.
remove() {
  local gone=(--ignore-not-found --timeout=2m)
  kubectl -n latchkey-system delete deployment latchkey-manager "${gone[@]}" >/dev/null 2>&1 || true
  kubectl delete crds -l app.kubernetes.io/part-of=latchkey "${gone[@]}" || return 1
  kubectl delete clusterrolebindings,clusterroles -l app.kubernetes.io/part-of=latchkey "${gone[@]}" || return 1
  kubectl delete namespaces "${namespaces[@]}" "${gone[@]}"
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ "$status" != 0 ] && [ -n "$begun" ]; then
    say "The end of each log; all of them are in $E2E_LOGS"
    find "$E2E_LOGS" -name '*.log' -size +0 -exec tail -n 8 {} + || true
    kubectl get pods,deployments,ingresses,events -A >"$E2E_LOGS/objects.txt" 2>&1 || true
  fi
  if [ -n "$begun" ]; then remove >/dev/null || { echo "make e2e: something is left in the cluster" >&2; status=1; }; fi
  if [ -n "$mine" ]; then "$REALCLUSTER/down.sh" || status=1; fi
  [ -z "$work" ] || rm -rf "$work"
  exit "$status"
}

# build makes images, manifests, chart and programs in the work folder, as a release
# does. The tag is never moved outside of this test, so that no node asks a registry.
build() {
  local version=v0.1.0 platform
  platform=linux/$(kubectl get nodes -o 'jsonpath={.items[0].status.nodeInfo.architecture}')
  make --no-print-directory -s bin/release
  bin/release images -out "$work/dist" -version "$version" -repository "$E2E_IMAGES" -platforms "$platform" -loadable "$platform"
  bin/release images -out "$work/dist" -version "$version" -repository "$E2E_IMAGES" -platforms "$platform" -loadable "$platform" -only e2e-backend
  VERSION=$version IMG=$E2E_IMAGES DIST=$work/dist bash hack/dist-manifests.sh
  CGO_ENABLED=0 go build -buildvcs=false -o "$work/bin/kubectl-latchkey" ./cmd/kubectl-latchkey
  ln -s "$(go tool -modfile=hack/tools/helm/go.mod -n helm)" "$work/bin/helm"
}

for command in go git make curl; do
  command -v "$command" >/dev/null || fail "the command $command is missing"
done
if [ "${1:-}" = --remove ]; then choose_cluster; remove; exit; fi
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
choose_cluster
describe_cluster
check_empty
echo "The cluster is $(kubectl config current-context), its Ingress controller is at $E2E_INGRESS."

work=$(mktemp -d)
mkdir "$work/bin"
rm -rf "$E2E_LOGS" && mkdir -p "$E2E_LOGS"
E2E_LOGS=$(cd "$E2E_LOGS" && pwd)
say "Making images and manifests"
build
for archive in "$work"/dist/images/*.tar; do
  case $archive in *.oci.tar) ;; *) $E2E_LOAD "$archive" ;; esac
done

export E2E_WORK=$work PATH=$work/bin:$PATH HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm KUBECACHEDIR=$work/cache
for way in $E2E_INSTALL; do
  say "Installing with the $way"
  begun=yes
  mkdir "$E2E_LOGS/$way" && ln -sfn "$E2E_LOGS/$way" "$work/logs"
  E2E_INSTALL=$way go test -tags e2e ./test/e2e -count=1 -v -timeout 15m ${E2E_RUN:+-run "$E2E_RUN"}
  remove >/dev/null
done
say "All passed; the logs are in $E2E_LOGS"
