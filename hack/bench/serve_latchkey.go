package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// latchkey is the API server without a control plane, to be profiled: its
// directory is fed with made-up objects. Its access log is written to nowhere.
func latchkey(o *serveOptions) (http.Handler, error) {
	digest, err := token.ParseDigest(o.digest)
	if err != nil {
		return nil, fmt.Errorf("--digest: %w", err)
	}
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewJSONHandler(nowhere, nil))
	view := directory.New(logger)
	_, credentials, err := mint(o.tenant, o.tokens)
	if err != nil {
		return nil, err
	}
	credentials = append(credentials, record.Credential{ID: o.id, Digest: digest, NotAfter: validUntil()})
	if err := feed(view, o.tenant, o.backend, credentials); err != nil {
		return nil, err
	}
	var limits server.Limits
	limits.AddFlags(flag.NewFlagSet("limits", flag.ContinueOnError)) // sets the defaults
	return server.New(server.Config{
		Limits:      limits,
		BaseDomain:  baseDomain,
		TokenPrefix: v1alpha1.DefaultTokenPrefix,
		Directory:   view,
		Proxy:       proxy.New(logger),
		Logger:      logger,
		Metrics:     prometheus.NewRegistry(),
	})
}

// validUntil is when the tokens of a run expire: not meanwhile.
func validUntil() time.Time { return time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second) }

// mint makes n tokens for a tenant, and what their records hold of them.
func mint(tenant string, n int) (plaintexts []string, credentials []record.Credential, err error) {
	expiry := validUntil()
	for range n {
		minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
		if err != nil {
			return nil, nil, err
		}
		plaintexts = append(plaintexts, minted.Reveal())
		credentials = append(credentials, record.Credential{ID: minted.ID(), Digest: minted.Digest(tenant), NotAfter: expiry})
	}
	return plaintexts, credentials, nil
}

// feed gives a directory its first lists: one tenant with tokens.
func feed(view *directory.Directory, tenant, backend string, credentials []record.Credential) error {
	stores := view.Stores()
	transformRecord, transformApiToken := transformer(stores.Records), transformer(stores.ApiTokens)
	records, apiTokens := make([]any, len(credentials)), make([]any, len(credentials))
	for i, c := range credentials {
		p := newPair(tenant, i, c)
		var errs [2]error
		records[i], errs[0] = transformRecord(p.record)
		apiTokens[i], errs[1] = transformApiToken(p.apiToken)
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	return errors.Join(
		stores.Records.Replace(records, "1"),
		stores.ApiTokens.Replace(apiTokens, "1"),
		stores.Tenants.Replace([]any{newTenant(tenant)}, "1"),
		stores.PublicApis.Replace([]any{newPublicApi("http://" + backend)}, "1"),
		stores.Documents.Replace(nil, "1"),
	)
}

// transformer is what a reflector applies to each object that arrives for the
// store.
func transformer(store cache.ReflectorStore) cache.TransformFunc {
	if transforming, ok := store.(cache.TransformingStore); ok && transforming.Transformer() != nil {
		return transforming.Transformer()
	}
	return func(object any) (any, error) { return object, nil }
}
