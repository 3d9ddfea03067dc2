package replicas_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/replicas"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, &env, controlplane.Options{}))
}

const service = "latchkey-apiserver"

// endpoints are slices of the Service, one an address family.
func endpoints(name string, family discoveryv1.AddressType, ready *bool, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v1alpha1.SystemNamespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: family,
	}
	for _, address := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ready}})
	}
	return s
}

var must = check.Must

func TestCount(t *testing.T) {
	const v4, v6 = discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6
	yes, no := new(true), new(false)
	for name, c := range map[string]struct {
		slices []any
		want   int
	}{
		"none":                    {nil, 1},
		"an empty slice":          {[]any{endpoints("a", v4, yes)}, 1},
		"nobody is ready":         {[]any{endpoints("a", v4, no, "10.0.0.1", "10.0.0.2")}, 1},
		"one":                     {[]any{endpoints("a", v4, yes, "10.0.0.1")}, 1},
		"three in two slices":     {[]any{endpoints("a", v4, yes, "10.0.0.1", "10.0.0.2"), endpoints("b", v4, yes, "10.0.0.3")}, 3},
		"nothing said":            {[]any{endpoints("a", v4, nil, "10.0.0.1", "10.0.0.2")}, 2},
		"some are not":            {[]any{endpoints("a", v4, yes, "10.0.0.1", "10.0.0.2"), endpoints("b", v4, no, "10.0.0.3")}, 2},
		"twice, on its way":       {[]any{endpoints("a", v4, yes, "10.0.0.1", "10.0.0.2"), endpoints("b", v4, yes, "10.0.0.2")}, 2},
		"both families":           {[]any{endpoints("a", v4, yes, "10.0.0.1", "10.0.0.2"), endpoints("b", v6, yes, "2001:db8::1", "2001:db8::2")}, 2},
		"one is late in a family": {[]any{endpoints("a", v4, yes, "10.0.0.1", "10.0.0.2"), endpoints("b", v6, yes, "2001:db8::1")}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			counter := replicas.New()
			must(t, counter.Store().Replace(c.slices, "1"))
			if got := counter.Count(); got != c.want {
				t.Errorf("%d replicas, want %d", got, c.want)
			}
		})
	}
}

func TestCountFollowsEvents(t *testing.T) {
	counter, ready := replicas.New(), new(true)
	store := counter.Store()
	want := func(want int, when string) {
		t.Helper()
		if got := counter.Count(); got != want {
			t.Errorf("%s: %d replicas, want %d", when, got, want)
		}
	}
	want(1, "at the start")
	must(t, store.Add(endpoints("a", discoveryv1.AddressTypeIPv4, ready, "10.0.0.1", "10.0.0.2")))
	must(t, store.Add(endpoints("b", discoveryv1.AddressTypeIPv4, ready, "10.0.0.3")))
	want(3, "added")
	must(t, store.Update(endpoints("a", discoveryv1.AddressTypeIPv4, ready, "10.0.0.1")))
	want(2, "one fewer")
	must(t, store.Delete(endpoints("b", discoveryv1.AddressTypeIPv4, ready)))
	want(1, "deleted")
	must(t, store.Replace([]any{endpoints("c", discoveryv1.AddressTypeIPv4, ready, "10.0.0.4", "10.0.0.5")}, "2"))
	want(2, "listed anew")
	for what, err := range map[string]error{
		"add": store.Add(&corev1.Pod{}), "delete": store.Delete(&corev1.Pod{}), "replace": store.Replace([]any{&corev1.Pod{}}, "3"),
	} {
		if err == nil {
			t.Errorf("%s: a Pod is taken for an EndpointSlice", what)
		}
	}
	want(2, "after what is none")
}

// Under the rights of either surface's ServiceAccount, and no others.
func TestRunFollowsTheService(t *testing.T) {
	for _, account := range []string{"latchkey-apiserver", "latchkey-portal"} {
		t.Run(account, func(t *testing.T) { testRun(t, account) })
	}
}

func testRun(t *testing.T, account string) {
	config, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, account, time.Hour)
	must(t, err)
	tlsConfig, err := rest.TLSConfigFor(config)
	must(t, err)
	transport := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}
	config.Transport, config.TLSClientConfig = transport, rest.TLSClientConfig{}
	first := endpoints("first", discoveryv1.AddressTypeIPv4, new(true), "10.0.0.1", "10.0.0.2")
	must(t, env().Client.Create(t.Context(), first))
	foreign := endpoints("foreign", discoveryv1.AddressTypeIPv4, new(true), "10.0.1.1", "10.0.1.2", "10.0.1.3")
	foreign.Labels[discoveryv1.LabelServiceName] = "another"
	must(t, env().Client.Create(t.Context(), foreign))
	before := goleak.IgnoreCurrent()
	counter := replicas.New()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- counter.Run(ctx, config, v1alpha1.SystemNamespace, service) }()
	wantCount(t, counter, 2)
	second := endpoints("second", discoveryv1.AddressTypeIPv4, new(true), "10.0.0.3")
	must(t, env().Client.Create(t.Context(), second))
	wantCount(t, counter, 3)
	second.Endpoints[0].Conditions.Ready = new(false)
	must(t, env().Client.Update(t.Context(), second))
	wantCount(t, counter, 2)
	for _, s := range []*discoveryv1.EndpointSlice{first, second, foreign} {
		must(t, env().Client.Delete(t.Context(), s))
	}
	wantCount(t, counter, 1)
	cancel()
	must(t, <-ended)
	testenv.Eventually(t, func() error {
		transport.CloseIdleConnections()
		return goleak.Find(before)
	})
}

func wantCount(t *testing.T, counter *replicas.Counter, want int) {
	t.Helper()
	testenv.Eventually(t, func() error {
		if got := counter.Count(); got != want {
			return fmt.Errorf("%d replicas, want %d", got, want)
		}
		return nil
	})
}

func TestRunRefusesABrokenConfig(t *testing.T) {
	if err := replicas.New().Run(t.Context(), &rest.Config{Host: "://"}, v1alpha1.SystemNamespace, service); err == nil {
		t.Error("no error")
	}
}
