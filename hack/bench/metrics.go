package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
)

// sample is one value of a metric.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

// scrape reads the metrics with the names from a page in Prometheus' text format.
func scrape(ctx context.Context, client *http.Client, url string, names ...string) (_ []sample, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return parseMetrics(response.Body, names)
}

var labelPattern = regexp.MustCompile(`(\w+)="([^"]*)"`)

// parseMetrics knows as much of the format as the values of counters and gauges
// take, whose labels here have no quotes inside.
func parseMetrics(page io.Reader, names []string) ([]sample, error) {
	var samples []sample
	lines := bufio.NewScanner(page)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, rest, labelled := strings.Cut(lines.Text(), "{")
		if !labelled {
			name, rest, _ = strings.Cut(lines.Text(), " ")
			rest = "} " + rest
		}
		if !slices.Contains(names, name) {
			continue
		}
		labels, text, _ := strings.Cut(rest, "} ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		s := sample{name: name, labels: map[string]string{}, value: value}
		for _, label := range labelPattern.FindAllStringSubmatch(labels, -1) {
			s.labels[label[1]] = label[2]
		}
		samples = append(samples, s)
	}
	return samples, lines.Err()
}

// writeCounts are the writes that a kube-apiserver was asked for, by resource.
type writeCounts map[string]float64

// ownWrites are the resources that are not the manager's: what Kubernetes writes
// for itself, and questions that look like writes.
var ownWrites = []string{"leases", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews", "serviceaccounts/token"}

// writes counts what was written so far.
func (c *cluster) writes(ctx context.Context) (writeCounts, error) {
	client, err := rest.HTTPClientFor(c.plane.Config)
	if err != nil {
		return nil, err
	}
	samples, err := scrape(ctx, client, strings.TrimSuffix(c.plane.Config.Host, "/")+"/metrics", "apiserver_request_total")
	if err != nil {
		return nil, err
	}
	counts := writeCounts{}
	for _, s := range samples {
		resource := strings.TrimSuffix(s.labels["resource"]+"/"+s.labels["subresource"], "/")
		switch s.labels["verb"] {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
			if resource != "" && !slices.Contains(ownWrites, resource) {
				counts[resource] += s.value
			}
		}
	}
	return counts, nil
}

// serverCPU is the CPU time that the kube-apiserver has used so far, in seconds.
func (c *cluster) serverCPU(ctx context.Context) (float64, error) {
	client, err := rest.HTTPClientFor(c.plane.Config)
	if err != nil {
		return 0, err
	}
	samples, err := scrape(ctx, client, strings.TrimSuffix(c.plane.Config.Host, "/")+"/metrics", "process_cpu_seconds_total")
	if err != nil || len(samples) != 1 {
		return 0, fmt.Errorf("the kube-apiserver's CPU time: %d samples: %w", len(samples), err)
	}
	return samples[0].value, nil
}

// since is what was added, without resources to which nothing was.
func (w writeCounts) since(before writeCounts) writeCounts {
	added := writeCounts{}
	for resource, n := range w {
		if n -= before[resource]; n != 0 {
			added[resource] = n
		}
	}
	return added
}

// String lists the counts.
func (w writeCounts) String() string {
	if len(w) == 0 {
		return "no writes"
	}
	var parts []string
	for _, resource := range slices.Sorted(maps.Keys(w)) {
		parts = append(parts, fmt.Sprintf("%.0f of %s", w[resource], resource))
	}
	return strings.Join(parts, ", ")
}

func (w writeCounts) sum() float64 {
	var sum float64
	for _, n := range w {
		sum += n
	}
	return sum
}
