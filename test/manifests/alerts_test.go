package manifests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/controllers/tenant"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/internal/usage"
)

type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var all []alert
	for _, object := range build(t, "chart") {
		if object.GetKind() == "PrometheusRule" {
			all = append(all, rulesOf(t, object)...)
		}
	}
	if len(all) < 10 {
		t.Fatalf("%d alerts: has their place changed?", len(all))
	}
	return all
}

func rulesOf(t *testing.T, object *unstructured.Unstructured) (rules []alert) {
	t.Helper()
	var typed struct {
		Spec struct {
			Groups []struct {
				Rules []alert `json:"rules"`
			} `json:"groups"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
		t.Fatal(err)
	}
	for _, group := range typed.Spec.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

// page is a file below docs.
func page(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Every alert says how bad it is and where help stands, and the runbook has a
// section for each alert and for nothing else.
func TestEveryAlertHasItsSectionInTheRunbook(t *testing.T) {
	var named []string
	for _, a := range alerts(t) {
		named = append(named, a.Alert)
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s has the severity %q", a.Alert, a.Labels["severity"])
		}
		if a.For == "" || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s lacks for, summary or description", a.Alert)
		}
		want := "https://github.com/latchkey-dev/latchkey/blob/main/docs/runbook.md#" + strings.ToLower(a.Alert)
		if got := a.Annotations["runbook_url"]; got != want {
			t.Errorf("%s has the runbook %s, want %s", a.Alert, got, want)
		}
	}
	var sections []string
	for _, section := range strings.Split(page(t, "runbook.md"), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		sections = append(sections, title)
		for _, part := range []string{"**Meaning.**", "**Impact.**", "**Look at.**", "**Do.**"} {
			if !strings.Contains(text, part) {
				t.Errorf("the section %s lacks %s", title, part)
			}
		}
	}
	if !slices.Equal(named, sections) {
		t.Errorf("alerts:\n%s\nsections:\n%s", strings.Join(named, "\n"), strings.Join(sections, "\n"))
	}
}

// exposed are the metrics that our programs expose, with the names of their labels.
func exposed(t *testing.T) map[string][]string {
	t.Helper()
	apiserver, manager := prometheus.NewRegistry(), prometheus.NewRegistry()
	logger := slog.New(slog.DiscardHandler)
	backends := proxy.New(logger)
	t.Cleanup(backends.Close)
	if _, err := server.New(server.Config{
		BaseDomain: "example.com", TokenPrefix: v1alpha1.DefaultTokenPrefix, Directory: directory.New(logger),
		Proxy: backends, Logger: logger, Metrics: apiserver,
	}); err != nil {
		t.Fatal(err)
	}
	store, err := usage.NewStore(env().Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := usage.New(usage.Config{Store: store, Logger: logger, Metrics: apiserver, Serves: func(string, token.Digest) bool { return true }}); err != nil {
		t.Fatal(err)
	}
	runManager(t, manager)
	found := map[string][]string{}
	describe(found, apiserver)
	describe(found, metrics.Registry.(prometheus.Collector)) // the manager's library's
	testenv.Eventually(t, func() error {
		describe(found, manager)
		for _, last := range []string{"latchkey_tokens", "latchkey_tenants"} { // at the start of the manager
			if _, ok := found[last]; !ok {
				return errors.New("the manager has not registered " + last + " yet")
			}
		}
		return nil
	})
	return found
}

// runManager runs a manager until the test ends: some of its metrics it has only
// then.
func runManager(t *testing.T, registry prometheus.Registerer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	mgr, err := controllers.NewManager(ctx, env().Config, controllers.Options{
		Tenant: tenant.Config{
			BaseDomain: "example.com", SystemNamespace: v1alpha1.SystemNamespace, TokenPrefix: v1alpha1.DefaultTokenPrefix,
			Ingress: tenant.IngressConfig{Routing: tenant.RoutingNone},
		},
		RecordsNamespace: v1alpha1.RecordsNamespace, MetricsAddress: "0", HealthAddress: "0",
		Metrics: registry, TokenExpiryMetrics: 1, Logger: logr.Discard(), SkipNameValidation: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

var described = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)

// describe adds what a registry may expose, also what has no value yet.
func describe(found map[string][]string, registry prometheus.Collector) {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		registry.Describe(descs)
	}()
	for desc := range descs {
		if match := described.FindStringSubmatch(desc.String()); match != nil {
			found[match[1]] = strings.Split(match[2], ",")
		}
	}
}

// promQL is what Prometheus' own parser says of the expressions.
func promQL(t *testing.T, texts []string) (parsed []struct {
	Error     string
	Selectors []struct {
		Metric string
		Labels []string
	}
	Grouping []string
}) {
	t.Helper()
	input, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-buildvcs=false", ".")
	cmd.Dir = filepath.Join(controlplane.Root(), "hack/tools/promql")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(output, &parsed); err != nil || len(parsed) != len(texts) {
		t.Fatalf("%v\n%s", err, output)
	}
	return parsed
}

// Every expression, in alerts and in the runbook, parses and asks only for metrics
// and labels that there are: an alert on a metric that was renamed never fires.
func TestExpressionsAskForWhatIsExposed(t *testing.T) {
	var names, texts []string
	for _, a := range alerts(t) {
		names, texts = append(names, a.Alert), append(texts, a.Expr)
	}
	for _, block := range regexp.MustCompile("(?s)```promql\n(.*?)\n```").FindAllStringSubmatch(page(t, "runbook.md")+page(t, "operations.md"), -1) {
		for query := range strings.SplitSeq(block[1], "\n") {
			names, texts = append(names, "the runbook's "+query), append(texts, query)
		}
	}
	found := exposed(t)
	found["up"] = nil // Prometheus' own
	scraped := []string{"job", "namespace", "pod", "instance"}
	for i, parsed := range promQL(t, texts) {
		if parsed.Error != "" || len(parsed.Selectors) == 0 {
			t.Errorf("%s: %s: %s", names[i], texts[i], parsed.Error)
		}
		known := slices.Clone(scraped)
		for _, s := range parsed.Selectors {
			labels, ok := found[s.Metric]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, isPart := strings.CutSuffix(s.Metric, suffix); !ok && isPart {
					labels, ok = found[base]
					labels = append(slices.Clone(labels), "le")
				}
			}
			if !ok {
				t.Errorf("%s: nobody exposes %s", names[i], s.Metric)
			}
			known = append(known, labels...)
			for _, label := range s.Labels {
				if !slices.Contains(labels, label) && !slices.Contains(scraped, label) {
					t.Errorf("%s: %s has no label %s", names[i], s.Metric, label)
				}
			}
		}
		for _, label := range parsed.Grouping {
			if !slices.Contains(known, label) {
				t.Errorf("%s: no metric has the label %s", names[i], label)
			}
		}
	}
}

// docs/operations.md lists our metrics, all of them and no others, with their
// labels.
func TestMetricsAreDocumented(t *testing.T) {
	documented := map[string]string{}
	for _, line := range regexp.MustCompile("(?m)^\\| `(latchkey_[a-z_]+)(?:\\{([a-z,]+)\\})?` \\|").FindAllStringSubmatch(page(t, "operations.md"), -1) {
		documented[line[1]] = line[2]
	}
	for name, labels := range exposed(t) {
		if !strings.HasPrefix(name, "latchkey_") {
			continue
		}
		if got, ok := documented[name]; !ok || got != strings.Join(labels, ",") {
			t.Errorf("docs/operations.md: %s{%s} is documented as {%s}: %t", name, strings.Join(labels, ","), got, ok)
		}
		delete(documented, name)
	}
	if len(documented) > 0 {
		t.Errorf("docs/operations.md has metrics that nobody exposes: %v", documented)
	}
}
