// Package quickjson decodes a watch of ApiTokens in one pass over each, and only
// what the directory needs of them. Custom resources come as JSON, and decoding it
// as client-go does is most of the API server's work at start: every event is
// scanned many times over, managed fields and conditions included.
package quickjson

import (
	"bytes"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const kind = "ApiToken"

// Serializer reads watches of ApiTokens quickly, and all else (lists, errors, what
// it can't make sense of) as the given one does. An ApiToken then has only: name,
// namespace, UID, resource version, deletion timestamp and, in the bookmark that
// ends the first list, annotations; of spec revoked, expiresAt, rateLimit and
// rotation's dropPrevious; of status the credentials' ids, digests and times.
func Serializer(base runtime.NegotiatedSerializer) runtime.NegotiatedSerializer {
	return serializer{base}
}

type serializer struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (s serializer) SupportedMediaTypes() []runtime.SerializerInfo {
	var infos []runtime.SerializerInfo
	for _, info := range s.NegotiatedSerializer.SupportedMediaTypes() {
		if info.MediaType == runtime.ContentTypeJSON && info.StreamSerializer != nil {
			info.Serializer = objects{info.Serializer}
			stream := *info.StreamSerializer
			stream.Serializer = events{stream.Serializer}
			info.StreamSerializer = &stream
		}
		infos = append(infos, info)
	}
	return infos
}

// events decode the frames of a watch. The object of an event shares the memory of
// its frame, and is decoded before the next one is read.
type events struct{ runtime.Serializer }

// Decode implements runtime.Decoder.
func (s events) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	event, ok := into.(*metav1.WatchEvent)
	if !ok {
		return s.Serializer.Decode(data, defaults, into)
	}
	err := eachMember(data, func(key string, value []byte) (err error) {
		switch key {
		case "type":
			event.Type, err = text(value)
		case "object":
			event.Object.Raw = value
		}
		return err
	})
	if err != nil {
		return s.Serializer.Decode(data, defaults, into)
	}
	return event, &schema.GroupVersionKind{Version: "v1", Kind: "WatchEvent"}, nil
}

// objects decode what is in an event.
type objects struct{ runtime.Serializer }

// Decode implements runtime.Decoder.
func (s objects) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if into == nil {
		if t, err := apiToken(data); err == nil && t.Kind == kind && t.APIVersion == v1alpha1.SchemeGroupVersion.String() {
			return t, new(v1alpha1.SchemeGroupVersion.WithKind(kind)), nil
		}
	}
	return s.Serializer.Decode(data, defaults, into)
}

func apiToken(data []byte) (*v1alpha1.ApiToken, error) {
	t := &v1alpha1.ApiToken{}
	err := eachMember(data, func(key string, value []byte) (err error) {
		switch key {
		case "kind":
			t.Kind, err = text(value)
		case "apiVersion":
			t.APIVersion, err = text(value)
		case "metadata":
			err = metadata(value, &t.ObjectMeta)
		case "spec":
			err = spec(value, &t.Spec)
		case "status":
			err = status(value, &t.Status)
		}
		return err
	})
	return t, err
}

func metadata(data []byte, m *metav1.ObjectMeta) error {
	return eachMember(data, func(key string, value []byte) (err error) {
		switch key {
		case "name":
			m.Name, err = text(value)
		case "namespace":
			m.Namespace, err = text(value)
		case "uid":
			var uid string
			uid, err = text(value)
			m.UID = types.UID(uid)
		case "resourceVersion":
			m.ResourceVersion, err = text(value)
		case "deletionTimestamp":
			m.DeletionTimestamp, err = timestamp(value)
		case "annotations":
			if bytes.Contains(value, []byte(metav1.InitialEventsAnnotationKey)) {
				m.Annotations, err = texts(value)
			}
		}
		return err
	})
}

func spec(data []byte, s *v1alpha1.ApiTokenSpec) error {
	return eachMember(data, func(key string, value []byte) (err error) {
		switch key {
		case "revoked":
			s.Revoked, err = boolean(value)
		case "expiresAt":
			s.ExpiresAt, err = timestamp(value)
		case "rateLimit":
			s.RateLimit, err = rateLimit(value)
		case "rotation":
			if !null(value) {
				s.Rotation = &v1alpha1.Rotation{}
				s.Rotation.DropPrevious, err = textMember(value, "dropPrevious")
			}
		}
		return err
	})
}

func rateLimit(data []byte) (*v1alpha1.RateLimit, error) {
	if null(data) {
		return nil, nil
	}
	l := &v1alpha1.RateLimit{}
	err := eachMember(data, func(key string, value []byte) (err error) {
		switch key {
		case "requests":
			l.Requests, err = integer(value)
		case "period":
			l.Period, err = duration(value)
		case "burst":
			l.Burst, err = integer(value)
		}
		return err
	})
	return l, err
}

func status(data []byte, s *v1alpha1.ApiTokenStatus) error {
	return eachMember(data, func(key string, value []byte) (err error) {
		switch key {
		case "credential":
			s.Credential, err = issued(value)
		case "previousCredential":
			s.PreviousCredential, err = issued(value)
		}
		return err
	})
}

func issued(data []byte) (*v1alpha1.IssuedCredential, error) {
	if null(data) {
		return nil, nil
	}
	c := &v1alpha1.IssuedCredential{}
	err := eachMember(data, func(key string, value []byte) (err error) {
		switch key {
		case "id":
			c.ID, err = text(value)
		case "digest":
			c.Digest, err = text(value)
		case "expiresAt":
			var at *metav1.Time
			if at, err = timestamp(value); at != nil {
				c.ExpiresAt = *at
			}
		case "issuedAt":
			c.IssuedAt, err = timestamp(value)
		case "lastUsedAt":
			c.LastUsedAt, err = timestamp(value)
		}
		return err
	})
	return c, err
}

// textMember is the text of a member, or empty.
func textMember(data []byte, name string) (found string, err error) {
	err = eachMember(data, func(key string, value []byte) (err error) {
		if key == name {
			found, err = text(value)
		}
		return err
	})
	return found, err
}
