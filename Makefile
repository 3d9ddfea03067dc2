# `make help` lists the targets. They need Go, make, git and bash; what else they
# use is built from Go modules.

.DEFAULT_GOAL := help

# Where `make run` keeps its files. It reads HTTP_PORT, HTTPS_PORT, BASE_DOMAIN and
# APISERVER_ARGS from the environment too.
RUN_DIR ?= .run
export RUN_DIR

# The release that is made, and where its images are: $(IMG)/latchkey-manager and
# $(IMG)/latchkey-apiserver.
VERSION ?= $(shell git describe --tags --always --dirty)
IMG ?= ghcr.io/latchkey-dev

tool := go tool -modfile=hack/tools/go.mod
lint := go tool -modfile=hack/tools/golangci-lint/go.mod golangci-lint

##@ Try it

.PHONY: help
help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: need-go ## Run everything on this machine: control plane, Latchkey, example backend, two tenants
	@exec bash hack/run/start.sh

##@ Develop

.PHONY: build
build: need-go ## Build manager, apiserver and kubectl-latchkey into bin/
	CGO_ENABLED=0 go build $$(cat internal/testing/programs/flags.txt) -o bin/ ./cmd/...

.PHONY: test
test: need-go ## Run the tests of every package, where needed against a real control plane; ARGS='-run TestX ./api/...' runs some
	@bash hack/test.sh $(ARGS)

.PHONY: test-system
test-system: need-go ## Run the suites that start several processes of Latchkey together; ARGS='-run TestX ./test/story' runs some
	@bash hack/test.sh system $(ARGS)

.PHONY: e2e
e2e: need-go ## Test a whole installation on the cluster of the current kubeconfig; see docs/guides/kind.md
	@bash hack/e2e.sh

.PHONY: kind-up
kind-up: ## Make a kind cluster with Traefik for `make e2e`; needs kind and docker, podman or nerdctl
	@bash hack/kind/up.sh

.PHONY: kind-down
kind-down: ## Delete that cluster
	@bash hack/kind/down.sh

.PHONY: lint
lint: need-go ## Check the code with golangci-lint (its first use builds it)
	$(lint) run
	$(lint) run --build-tags=faultpoints ./internal/fault
	cd hack/release && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run
	cd hack/bench && go tool -modfile=../tools/golangci-lint/go.mod golangci-lint run

.PHONY: lint-api
lint-api: need-go ## Check the kinds with kube-api-linter (its first use builds it)
	go tool -modfile=hack/tools/kube-api-linter/go.mod golangci-lint-kube-api-linter run --config hack/tools/kube-api-linter/golangci.yml ./api/...

.PHONY: vulncheck
vulncheck: need-go ## Check for known vulnerabilities; needs the network (https://vuln.go.dev)
	go tool -modfile=hack/tools/govulncheck/go.mod govulncheck ./...
	cd hack/bench && go tool -modfile=../tools/govulncheck/go.mod govulncheck ./...

.PHONY: fuzz
fuzz: need-go ## Run every fuzz target for FUZZTIME (10s unless set)
	@bash hack/fuzz.sh

.PHONY: attacks
attacks: need-go ## Attack the API server for half an hour, as docs/attacks.md says; `make test-system` does so for less long
	@ATTACKS=long bash hack/test.sh -count=1 -timeout 60m -v ./test/attacks
	@ATTACKS=long bash hack/test.sh -count=1 -v -run '^TestLife$$' ./controllers
	@bash hack/test.sh -count=1 -timeout 60m -v -run '^TestLife$$' ./controllers/apitoken -rapid.checks=1000

.PHONY: bench
bench: bin/bench ## Measure what Latchkey costs beside others; BENCH_FLAGS=--quick takes about a minute
	@exec bin/bench $(BENCH_FLAGS)

.PHONY: scale
scale: bin/bench ## Measure 100,000 tokens of 1,000 tenants on one control plane; SCALE_FLAGS=--quick takes two minutes
	@exec bin/bench scale $(SCALE_FLAGS)

.PHONY: bin/bench
bin/bench: need-go
	@go build -C hack/bench -buildvcs=false -o ../../bin/bench .

.PHONY: scan
scan: need-go ## Take 1,000 tokens from issuing to their end, and search all that is written meanwhile for them
	@bash hack/test.sh -count=1 -timeout 90m -run TestNoPlaintextIsWritten -v ./test/plaintext -lifecycles=1000

.PHONY: faults
faults: need-go ## Break what Latchkey depends on while requests go on, and count wrong accepts; ONLY=etcd runs some, FAULTS_FLAGS='-markdown=FILE' keeps the table
	@bash hack/test.sh -count=1 -timeout 90m -v -run '^TestFaults$$/$(ONLY)' ./test/faults -args -full $(FAULTS_FLAGS)

.PHONY: generate
generate: need-go ## Generate deepcopy functions and apply configurations from api/, and the portal's server from its OpenAPI document
	go tool -modfile=hack/tools/oapi-codegen/go.mod oapi-codegen -config internal/portal/tokenapi/oapi-codegen.yaml internal/portal/tokenapi/openapi.yaml
	$(tool) controller-gen object:headerFile=hack/boilerplate.go.txt applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: manifests
manifests: need-go ## Generate CRDs from api/
	$(tool) controller-gen crd paths=./api/... output:crd:artifacts:config=config/crd/bases

.PHONY: docs-assets
docs-assets: ## Take the viewer of /docs, and axe for the tests of pages, from npm as pinned in hack/tools/swagger-ui; needs Node.js
	@bash hack/tools/swagger-ui/refresh.sh

.PHONY: screenshots
screenshots: need-go ## Write the pictures of pages that the guides show to docs/images; needs Chromium
	@CI=true PICTURES='$(CURDIR)/docs/images' go test -count=1 -run 'TestATokenIsSentToThisHost|TestThePageInAWindow|TestPictures' ./internal/portal/reference ./internal/portal/settings

.PHONY: verify
verify: need-go ## Check that generated files, formatting and go.mod files are up to date
	@bash hack/verify.sh

##@ Release

.PHONY: images
images: bin/release ## Make the images in dist/images, with SBOMs; IMG=registry/path PUSH=1 publishes, BASE= is what they stand on
	bin/release images -version='$(VERSION)' -repository='$(IMG)' -base='$(BASE)' $(if $(LOADABLE),-loadable='$(LOADABLE)') $(if $(filter 1,$(PUSH)),-push)

.PHONY: release
release: bin/release ## Make all that VERSION=v0.1.0 publishes in dist/, with checksums; IMG, PUSH and BASE as above
	rm -rf dist
	bin/release plugin -version='$(VERSION)'
	@$(MAKE) --no-print-directory dist-manifests
	@$(MAKE) --no-print-directory images LOADABLE=linux/amd64
	bin/release checksums -version='$(VERSION)'

.PHONY: bin/release
bin/release: need-go
	@go build -C hack/release -buildvcs=false -o ../../bin/release .

.PHONY: dist-manifests
dist-manifests: need-go ## Write dist/install.yaml and the Helm chart for VERSION, with images at IMG
	@VERSION='$(VERSION)' IMG='$(IMG)' bash hack/dist-manifests.sh

.PHONY: score
score: need-go ## Check with kube-score what would be installed
	@bash hack/score.sh

##@ Clean up

.PHONY: clean
clean: ## Remove what was built here and what make run left, but for the cached control plane
	@[ ! -e '$(RUN_DIR)/lock' ] || { echo "make run is at work, or was killed: stop it, after another start if it was killed, and try again."; exit 1; }
	rm -rf bin dist '$(RUN_DIR)/bin' '$(RUN_DIR)/programs' '$(RUN_DIR)/ca' '$(RUN_DIR)/logs'

.PHONY: need-go
need-go:
	@bash hack/run/need-go.sh
