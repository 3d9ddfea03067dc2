package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// crowdTenant is the tenant with many tokens.
const crowdTenant = "crowd"

// fill makes the tenants, has some tokens issued, and puts the others beside them.
func (s *scaling) fill(ctx context.Context) (err error) {
	if s.cluster, err = s.bench.cluster(ctx); err != nil {
		return err
	}
	s.etcd = newEtcd(s.cluster)
	s.onStop(func() error { s.etcd.close(); return nil })
	tenantRate, err := s.addTenants(ctx)
	if err != nil {
		return err
	}
	s.perTenant = (s.total - s.crowd) / (s.tenants - 1)
	if err := s.grow(ctx, s.sample); err != nil {
		return err
	}
	if err := s.manager.idle(ctx, len(s.issued)); err != nil {
		return err
	}
	before, err := s.etcd.size()
	if err != nil {
		return err
	}
	mold, err := s.newMold(ctx)
	if err != nil {
		return err
	}
	if err := s.stopManager(); err != nil {
		return err
	}
	started := time.Now()
	if err := s.cast(ctx, mold); err != nil {
		return err
	}
	took := time.Since(started)
	if err := s.verifyTokens(ctx); err != nil {
		return err
	}
	after, err := s.etcd.size()
	if err != nil {
		return err
	}
	put := float64(s.total - s.sample)
	t := &table{Section: partFill, Title: fmt.Sprintf("%d tokens of %d tenants, one of which has %d", s.total, s.tenants, s.crowd), Columns: []string{"what", "figure", "unit"}}
	t.add(text("Tenants made, ready with namespace, RoleBindings and Ingress"), number("%.1f", tenantRate), text("per second"))
	t.add(text("an ApiToken in etcd, issued"), number("%.0f", float64(len(mold.apiToken))), text("B"))
	t.add(text("its record in etcd"), number("%.0f", float64(len(mold.record))), text("B"))
	t.add(text("etcd's file per token, one revision of each object"), number("%.0f", (after-before)/put), text("B"))
	t.add(text("etcd's file, with history"), mebibytes(after), text("MiB"))
	t.note("%d tokens were issued by the manager; %.0f were written to etcd in %s, as copies of one that was, with credentials of their own.", s.sample, put, took.Round(time.Second))
	return s.report.show(t)
}

// addTenants makes the tenants and returns how many are ready per second.
func (s *scaling) addTenants(ctx context.Context) (rate float64, err error) {
	started := time.Now()
	names := []string{crowdTenant}
	for i := range s.tenants - 1 {
		names = append(names, fleetTenant(i))
		s.made[i] = true
	}
	objects := make([]client.Object, len(names))
	for i, name := range names {
		objects[i] = &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	if err := s.createAll(ctx, objects); err != nil {
		return 0, err
	}
	for deadline, last := time.Now().Add(stall), -1; ; sleep(ctx, 200*time.Millisecond) {
		var list v1alpha1.TenantList
		if err := s.client.List(ctx, &list); err != nil {
			return 0, err
		}
		ready := 0
		for i := range list.Items {
			if t := &list.Items[i]; t.Name != benchTenant && meta.IsStatusConditionTrue(t.Status.Conditions, v1alpha1.ConditionReady) {
				ready++
			}
		}
		switch {
		case ready == len(names):
			return float64(ready) / time.Since(started).Seconds(), nil
		case ready > last:
			last, deadline = ready, time.Now().Add(stall)
		case time.Now().After(deadline):
			return 0, fmt.Errorf("%d of %d Tenants are ready, and no more became so in %s", ready, len(names), stall)
		}
	}
}

// mold is what etcd has of one token that was issued.
type mold struct {
	// apiToken and record are as stored.
	apiToken, record []byte
	token            v1alpha1.ApiToken
	secret           corev1.Secret
}

var secretCodec = protobuf.NewSerializer(scheme, scheme)

func apiTokenKey(namespace, name string) string {
	return "/registry/" + v1alpha1.SchemeGroupVersion.Group + "/apitokens/" + namespace + "/" + name
}

func recordKey(uid types.UID) string {
	return "/registry/secrets/" + v1alpha1.RecordsNamespace + "/" + record.Name(uid)
}

// newMold reads the first token that was issued.
func (s *scaling) newMold(ctx context.Context) (*mold, error) {
	m := &mold{}
	var err error
	if m.apiToken, err = s.etcd.get(ctx, apiTokenKey(v1alpha1.TenantNamespacePrefix+s.issued[0].tenant, "token-000000")); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(m.apiToken, &m.token); err != nil {
		return nil, fmt.Errorf("the stored ApiToken: %w", err)
	}
	if m.record, err = s.etcd.get(ctx, recordKey(m.token.UID)); err != nil {
		return nil, err
	}
	if _, _, err := secretCodec.Decode(m.record, nil, &m.secret); err != nil {
		return nil, fmt.Errorf("the stored record: %w", err)
	}
	return m, nil
}

// cast puts as many tokens into etcd as are missing: the crowd's, and the others'.
func (s *scaling) cast(ctx context.Context, m *mold) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	issued := make([]issuedToken, s.total)
	copy(issued, s.issued)
	for serial := s.sample; serial < s.total && ctx.Err() == nil; serial++ {
		tenant := crowdTenant
		if serial < s.total-s.crowd {
			tenant = fleetTenant(min(serial/s.perTenant, s.tenants-2))
		}
		group.Go(func() (err error) {
			issued[serial], err = s.castOne(ctx, m, tenant, fmt.Sprintf("token-%06d", serial))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.issued, s.others, s.crowded = issued, issued[:s.total-s.crowd], issued[s.total-s.crowd:]
	return nil
}

// castOne puts one token into etcd: a copy in all but its name and credential.
func (s *scaling) castOne(ctx context.Context, m *mold, tenant, name string) (issuedToken, error) {
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	if err != nil {
		return issuedToken{}, err
	}
	t := m.token.DeepCopy()
	t.Namespace, t.Name, t.UID = v1alpha1.TenantNamespacePrefix+tenant, name, uuid.NewUUID()
	digest := minted.Digest(tenant)
	replaced := t.Spec.Credential.ID
	t.Spec.Credential.ID, t.Spec.Credential.Digest = minted.ID(), digest.String()
	t.Status.Credential.ID, t.Status.Credential.Digest = minted.ID(), digest.String()
	stored, err := json.Marshal(t)
	if err != nil {
		return issuedToken{}, err
	}
	stored = bytes.ReplaceAll(stored, []byte(replaced), []byte(minted.ID())) // in the conditions' messages
	secret := (&record.Record{
		Tenant: tenant, Namespace: t.Namespace, Name: name, UID: t.UID, Owner: t.Spec.Owner, Scopes: t.Spec.Scopes,
		Current: record.Credential{ID: minted.ID(), Digest: digest, NotAfter: t.Status.Credential.ExpiresAt.UTC()},
	}).Secret(v1alpha1.RecordsNamespace)
	secret.UID, secret.CreationTimestamp, secret.ManagedFields = uuid.NewUUID(), m.secret.CreationTimestamp, m.secret.ManagedFields
	secret.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	var encoded bytes.Buffer
	if err := secretCodec.Encode(secret, &encoded); err != nil {
		return issuedToken{}, err
	}
	return issuedToken{tenant, minted.Reveal()}, errors.Join(
		s.etcd.put(ctx, apiTokenKey(t.Namespace, name), stored),
		s.etcd.put(ctx, recordKey(t.UID), encoded.Bytes()),
	)
}

// verifyTokens makes sure that the API server takes what was put into etcd for
// issued: each of a hundred tokens, spread over all.
func (s *scaling) verifyTokens(ctx context.Context) (err error) {
	server, err := s.startAPIServer(ctx, anyCore, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	conn, err := dial(ctx, server.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for i := 0; i < s.total; i += max(1, s.total/100) {
		a, err := conn.exchange(s.issued[i].request("/api/v1/token"))
		if err != nil {
			return err
		}
		if a.status != 200 {
			return fmt.Errorf("token %d of %s is answered with %d: %.300s", i, s.issued[i].tenant, a.status, a.body)
		}
	}
	return nil
}
