package document_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/document"
)

var owner = &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: "4c1e"}}

func stored(t *testing.T, d *document.Document) *corev1.ConfigMap {
	t.Helper()
	c, err := d.ConfigMap("latchkey-system", owner)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatIsStoredIsReadAgain(t *testing.T) {
	d := &document.Document{
		PublicApi: "shop", Text: []byte("openapi: 3.1.0\n"), Source: "http://shop.example/openapi.yaml",
		ETag: `W/"7"`, LastModified: "Wed, 25 Nov 2026 10:00:00 GMT",
	}
	c := stored(t, d)
	if c.Name != document.Name("shop") || c.Namespace != "latchkey-system" || !metav1.IsControlledBy(c, owner) {
		t.Errorf("stored as %s/%s, owned by %v", c.Namespace, c.Name, c.OwnerReferences)
	}
	got, err := document.Decode(c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, got); diff != "" {
		t.Error(diff)
	}
	if again := stored(t, got); !cmp.Equal(c, again) {
		t.Error("the same document makes another ConfigMap:", cmp.Diff(c, again))
	}
}

func TestTooLarge(t *testing.T) {
	noise := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	_, err := (&document.Document{PublicApi: "shop", Text: noise}).ConfigMap("latchkey-system", owner)
	if !errors.Is(err, document.ErrTooLarge) {
		t.Errorf("a MiB that can't be compressed: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := stored(t, &document.Document{PublicApi: "shop", Text: []byte("{}")})
	for name, spoil := range map[string]func(*corev1.ConfigMap){
		"not managed by us":    func(c *corev1.ConfigMap) { delete(c.Labels, v1alpha1.LabelManagedBy) },
		"of no PublicApi":      func(c *corev1.ConfigMap) { delete(c.Labels, v1alpha1.LabelPublicApi) },
		"of another PublicApi": func(c *corev1.ConfigMap) { c.Labels[v1alpha1.LabelPublicApi] = "other" },
		"nothing in it":        func(c *corev1.ConfigMap) { c.BinaryData = nil },
		"no gzip":              func(c *corev1.ConfigMap) { c.BinaryData["document.gz"] = []byte("openapi: 3.1.0") },
		"cut": func(c *corev1.ConfigMap) {
			c.BinaryData["document.gz"] = c.BinaryData["document.gz"][:len(c.BinaryData["document.gz"])-5]
		},
		"unpacks to too much": func(c *corev1.ConfigMap) {
			var bomb bytes.Buffer
			w := gzip.NewWriter(&bomb)
			_, _ = w.Write(make([]byte, document.MaxBytes+1))
			_ = w.Close()
			c.BinaryData["document.gz"] = bomb.Bytes()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := good.DeepCopy()
			spoil(c)
			if d, err := document.Decode(c); err == nil {
				t.Errorf("decoded as %q of %s", d.Text, d.PublicApi)
			}
		})
	}
}
