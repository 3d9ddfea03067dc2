package quickjson_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory/quickjson"
)

var base = func() runtime.NegotiatedSerializer {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme).WithoutConversion()
}()

// decode takes a frame of a watch apart as client-go does.
func decode(negotiated runtime.NegotiatedSerializer, frame []byte) (string, runtime.Object, error) {
	info, _ := runtime.SerializerInfoForMediaType(negotiated.SupportedMediaTypes(), runtime.ContentTypeJSON)
	var event metav1.WatchEvent
	if _, _, err := info.StreamSerializer.Decode(frame, nil, &event); err != nil {
		return "", nil, err
	}
	object, err := runtime.Decode(negotiated.DecoderToVersion(info.Serializer, nil), event.Object.Raw)
	return event.Type, object, err
}

func frame(t testing.TB, object any) []byte {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"type":"ADDED","object":%s}`, text)
}

func full() *v1alpha1.ApiToken {
	at := func(s string) metav1.Time {
		parsed, err := time.Parse(time.RFC3339, s)
		utilruntime.Must(err)
		return metav1.NewTime(parsed)
	}
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	return &v1alpha1.ApiToken{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ApiToken"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "nightly", Namespace: "tenant-acme", UID: "7d1c2c3a-5a0e-4f3d-9c55-0d3a8f2e6b11", ResourceVersion: "12345",
			DeletionTimestamp: new(at("2027-01-02T03:04:05Z")), Annotations: map[string]string{"a": `{"b":"c\"}]"}`},
			Finalizers: []string{"example.com/hold"}, Labels: map[string]string{"name": "wrong"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: `}]"\`, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:revoked":{}}}`)}},
		},
		Spec: v1alpha1.ApiTokenSpec{
			Description: `"revoked":true}\`, Owner: "ada", Scopes: []string{"a", "b"}, Revoked: true, ExpiresAt: new(at("2999-12-31T23:59:59Z")),
			Credential: &v1alpha1.Credential{ID: "0123456789", Digest: digest("a"), IssuedAt: at("2027-01-01T00:00:00Z")},
			RateLimit:  &v1alpha1.RateLimit{Requests: 100, Period: &metav1.Duration{Duration: 90 * time.Second}, Burst: 7},
			Rotation:   &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: time.Hour}, DropPrevious: "abcdefghij"},
		},
		Status: v1alpha1.ApiTokenStatus{
			Credential:         &v1alpha1.IssuedCredential{ID: "0123456789", Digest: digest("a"), ExpiresAt: at("2028-02-29T00:00:00Z"), Scopes: []string{"x"}, IssuedAt: new(at("2027-01-01T00:00:00Z"))},
			PreviousCredential: &v1alpha1.IssuedCredential{ID: "abcdefghij", Digest: digest("b"), ExpiresAt: at("2027-03-01T00:00:00Z"), LastUsedAt: new(at("2027-01-01T00:00:01Z"))},
			Conditions:         []metav1.Condition{{Type: "Active", Message: `"spec":{"revoked":false}`}},
		},
	}
}

// needed is what must come out of a decoded object.
func needed(object runtime.Object) any {
	t, ok := object.(*v1alpha1.ApiToken)
	if !ok {
		return object
	}
	n := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{
		Name: t.Name, Namespace: t.Namespace, UID: t.UID, ResourceVersion: t.ResourceVersion, DeletionTimestamp: t.DeletionTimestamp,
	}}
	if t.Annotations[metav1.InitialEventsAnnotationKey] != "" {
		n.Annotations = t.Annotations
	}
	n.Spec.Revoked, n.Spec.ExpiresAt = t.Spec.Revoked, t.Spec.ExpiresAt
	n.Spec.RateLimit = t.Spec.RateLimit
	if r := t.Spec.Rotation; r != nil {
		n.Spec.Rotation = &v1alpha1.Rotation{DropPrevious: r.DropPrevious}
	}
	if c := t.Status.Credential; c != nil {
		n.Status.Credential = &v1alpha1.IssuedCredential{ID: c.ID, Digest: c.Digest, ExpiresAt: c.ExpiresAt, IssuedAt: c.IssuedAt, LastUsedAt: c.LastUsedAt}
	}
	if c := t.Status.PreviousCredential; c != nil {
		n.Status.PreviousCredential = &v1alpha1.IssuedCredential{ID: c.ID, Digest: c.Digest, ExpiresAt: c.ExpiresAt, IssuedAt: c.IssuedAt, LastUsedAt: c.LastUsedAt}
	}
	return n
}

func wantAlike(t *testing.T, frame []byte) {
	t.Helper()
	wantType, want, wantErr := decode(base, frame)
	gotType, got, err := decode(quickjson.Serializer(base), frame)
	if (err != nil) != (wantErr != nil) || gotType != wantType {
		t.Fatalf("%s %v, want %s %v, of %s", gotType, err, wantType, wantErr, frame)
	}
	if err == nil && !reflect.DeepEqual(needed(got), needed(want)) {
		t.Fatalf("got  %+v\nwant %+v\nof %s", needed(got), needed(want), frame)
	}
}

func frames(t testing.TB) map[string][]byte {
	bookmark := full()
	bookmark.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	const head = `{"type":"MODIFIED","object":{"kind":"ApiToken","apiVersion":"latchkey.dev/v1alpha1",`
	return map[string][]byte{
		"everything set": frame(t, full()),
		"nothing set":    frame(t, &v1alpha1.ApiToken{TypeMeta: full().TypeMeta}),
		"bookmark":       frame(t, bookmark),
		"status":         frame(t, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Code: 410, Reason: metav1.StatusReasonExpired}),
		"another kind":   frame(t, &v1alpha1.Tenant{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Tenant"}}),
		"unknown kind":   frame(t, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v9", Kind: "ApiToken"}}),
		"nulls":          []byte(head + `"metadata":null,"spec":{"revoked":null,"expiresAt":null,"credential":null},"status":{"credential":null}}}`),
		"spaces":         []byte(" { \"type\" : \"ADDED\" ,\n\"object\": { \"kind\":\t\"ApiToken\", \"apiVersion\": \"latchkey.dev/v1alpha1\" , \"spec\" : { \"revoked\" : true } } } \n"),
		"escapes":        []byte(head + `"metadata":{"n\u0061me":"a\"\\","uid":"\u00e9\ud83d\ude00","namespace":"é"}}}`),
		"wrong types":    []byte(head + `"metadata":{"name":7}}}`),
		"wrong boolean":  []byte(head + `"spec":{"revoked":"yes"}}}`),
		"wrong time":     []byte(head + `"spec":{"expiresAt":"tomorrow"}}}`),
		"empty limit":    []byte(head + `"spec":{"rateLimit":{}}}}`),
		"limit of nulls": []byte(head + `"spec":{"rateLimit":{"requests":null,"period":null,"burst":null}}}}`),
		"wrong requests": []byte(head + `"spec":{"rateLimit":{"requests":1.5}}}}`),
		"wrong period":   []byte(head + `"spec":{"rateLimit":{"period":"soon"}}}}`),
		"many requests":  []byte(head + `"spec":{"rateLimit":{"requests":2147483648}}}}`),
		"limit twice":    []byte(head + `"spec":{"rateLimit":{"requests":1,"requests":2}}}}`),
		"revoked twice":  []byte(head + `"spec":{"revoked":true,"revoked":null}}}`),
		"vouches twice":  []byte(head + `"status":{"credential":{"digest":"a"},"credential":null}}}`),
		"another case":   []byte(head + `"spec":{"Revoked":true}}}`),
	}
}

func TestDecodesWhatClientGoDoes(t *testing.T) {
	for name, frame := range frames(t) {
		t.Run(name, func(t *testing.T) { wantAlike(t, frame) })
	}
}

// The rest of an ApiToken is skipped, or nothing is gained.
func TestSkipsTheRest(t *testing.T) {
	_, got, err := decode(quickjson.Serializer(base), frame(t, full()))
	if err != nil {
		t.Fatal(err)
	}
	if token := got.(*v1alpha1.ApiToken); token.ManagedFields != nil || token.Status.Conditions != nil {
		t.Errorf("all of it was decoded: %+v", token)
	}
}

// FuzzDecode: no frame makes it panic, and where both decode one they agree.
func FuzzDecode(f *testing.F) {
	for _, frame := range frames(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		gotType, got, err := decode(quickjson.Serializer(base), frame)
		wantType, want, wantErr := decode(base, frame)
		if !json.Valid(frame) || err != nil || wantErr != nil {
			return
		}
		if gotType != wantType || !reflect.DeepEqual(needed(got), needed(want)) {
			t.Fatalf("got  %s %+v\nwant %s %+v\nof %s", gotType, needed(got), wantType, needed(want), frame)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	frame := frame(b, full())
	for name, negotiated := range map[string]runtime.NegotiatedSerializer{"client-go": base, "quick": quickjson.Serializer(base)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := decode(negotiated, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
