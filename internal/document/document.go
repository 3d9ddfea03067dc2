// Package document is the stored form of a PublicApi's OpenAPI document: a ConfigMap
// that the manager writes once it has found the document good, and that every replica
// of the API server reads, so that all of them serve and enforce the same.
package document

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// MaxBytes bounds a document as it is read, and so what a ConfigMap unpacks to.
const MaxBytes = 4 << 20

// maxStoredBytes bounds the packed document: an object of Kubernetes has at most
// about a MiB, all its fields and the encoding included.
const maxStoredBytes = 700 << 10

const (
	namePrefix = "openapi-"
	// key is that of the ConfigMap's binaryData.
	key = "document.gz"
)

// What the manager has to remember of where the document came from.
const (
	annotationSource       = "latchkey.dev/document-source"
	annotationETag         = "latchkey.dev/document-etag"
	annotationLastModified = "latchkey.dev/document-last-modified"
)

// Document is an OpenAPI document and where it came from.
type Document struct {
	// PublicApi is the name of the one whose document it is.
	PublicApi string
	// Text is the document as it was read.
	Text []byte
	// Source is where it was read: a URL, or a ConfigMap and its key.
	Source string
	// ETag and LastModified are what the source said of it, for the next request
	// (RFC 9110, section 13.1). Either may be empty.
	ETag, LastModified string
}

// Equal says whether two documents are the same and came from the same place.
func (d *Document) Equal(other *Document) bool {
	return d.PublicApi == other.PublicApi && bytes.Equal(d.Text, other.Text) && d.Source == other.Source &&
		d.ETag == other.ETag && d.LastModified == other.LastModified
}

// Name is the name of the ConfigMap that keeps the document of a PublicApi.
func Name(publicApi string) string { return namePrefix + publicApi }

// Digest is how status names a text.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ErrTooLarge says that a document can't be kept in a ConfigMap.
var ErrTooLarge = errors.New("the document is too large")

// ConfigMap is the document as it is stored, owned by its PublicApi, with which it
// goes. It fails with ErrTooLarge.
func (d *Document) ConfigMap(namespace string, owner *v1alpha1.PublicApi) (*corev1.ConfigMap, error) {
	packed, err := pack(d.Text)
	if err != nil {
		return nil, err
	}
	if len(packed) > maxStoredBytes {
		return nil, fmt.Errorf("%w: compressed it has %d bytes, at most %d can be kept; leave examples or long descriptions out", ErrTooLarge, len(packed), maxStoredBytes)
	}
	controller := metav1.NewControllerRef(owner, v1alpha1.SchemeGroupVersion.WithKind("PublicApi"))
	controller.BlockOwnerDeletion = nil // needs a right that nothing here is for
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      Name(d.PublicApi),
			Labels: map[string]string{
				v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
				v1alpha1.LabelPublicApi: d.PublicApi,
			},
			Annotations: map[string]string{
				annotationSource:       d.Source,
				annotationETag:         d.ETag,
				annotationLastModified: d.LastModified,
			},
			OwnerReferences: []metav1.OwnerReference{*controller},
		},
		BinaryData: map[string][]byte{key: packed},
	}, nil
}

// PublicApiOf is the name of the PublicApi whose document a ConfigMap keeps by its
// name, whatever its labels say; empty if by its name it keeps none.
func PublicApiOf(c *corev1.ConfigMap) string {
	publicApi, _ := strings.CutPrefix(c.Name, namePrefix)
	if publicApi == c.Name {
		return ""
	}
	return publicApi
}

// IsDocument says whether a ConfigMap has the marks of a stored document. A copy of
// one under another name has not.
func IsDocument(c *corev1.ConfigMap) bool {
	publicApi := PublicApiOf(c)
	return publicApi != "" && c.Labels[v1alpha1.LabelPublicApi] == publicApi && c.Labels[v1alpha1.LabelManagedBy] == v1alpha1.ManagedBy
}

// Decode reads a stored document.
func Decode(c *corev1.ConfigMap) (*Document, error) {
	if !IsDocument(c) {
		return nil, fmt.Errorf("ConfigMap %s keeps no OpenAPI document of Latchkey's", c.Name)
	}
	text, err := unpack(c.BinaryData[key])
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s, %s: %w", c.Name, key, err)
	}
	return &Document{
		PublicApi:    c.Labels[v1alpha1.LabelPublicApi],
		Text:         text,
		Source:       c.Annotations[annotationSource],
		ETag:         c.Annotations[annotationETag],
		LastModified: c.Annotations[annotationLastModified],
	}, nil
}

// pack compresses without a time in the header, so that the same document makes the
// same bytes.
func pack(text []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// unpack stops at MaxBytes: a small file can unpack to a huge one.
func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
	}
	return text, nil
}
