package replicas

import (
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// Store is what a reflector of EndpointSlices feeds.
func (c *Counter) Store() cache.ReflectorStore { return store{c} }

// slice is what is kept of an EndpointSlice.
type slice struct {
	name      string
	family    discoveryv1.AddressType
	addresses []string
}

// shrink keeps the addresses of the endpoints that are ready, which they are where
// nothing is said of it, as the API has it. An endpoint's first address stands for it.
func shrink(s *discoveryv1.EndpointSlice) slice {
	kept := slice{name: s.Name, family: s.AddressType}
	for _, endpoint := range s.Endpoints {
		if ready := endpoint.Conditions.Ready; (ready == nil || *ready) && len(endpoint.Addresses) > 0 {
			kept.addresses = append(kept.addresses, endpoint.Addresses[0])
		}
	}
	return kept
}

// recount counts each address once, since an endpoint that moves from one slice to
// another is in both for a moment, and takes the family with the most: with two, each
// replica has an address of both. mu is held.
func (c *Counter) recount() {
	families := map[discoveryv1.AddressType]map[string]struct{}{}
	for _, s := range c.slices {
		if families[s.family] == nil {
			families[s.family] = map[string]struct{}{}
		}
		for _, address := range s.addresses {
			families[s.family][address] = struct{}{}
		}
	}
	most := 0
	for _, addresses := range families {
		most = max(most, len(addresses))
	}
	c.count.Store(int64(most))
}

// store adapts a Counter to a reflector.
type store struct{ *Counter }

var _ cache.TransformingStore = store{}

// Transformer shrinks slices as they arrive.
func (store) Transformer() cache.TransformFunc {
	return func(object any) (any, error) {
		if full, ok := object.(*discoveryv1.EndpointSlice); ok {
			return shrink(full), nil
		}
		return object, nil
	}
}

func shrunk(object any) (slice, error) {
	switch object := object.(type) {
	case slice:
		return object, nil
	case *discoveryv1.EndpointSlice:
		return shrink(object), nil
	}
	return slice{}, fmt.Errorf("a %T is no EndpointSlice", object)
}

// Add implements cache.ReflectorStore.
func (s store) Add(object any) error {
	kept, err := shrunk(object)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slices[kept.name] = kept
	s.recount()
	return nil
}

// Update implements cache.ReflectorStore.
func (s store) Update(object any) error { return s.Add(object) }

// Delete implements cache.ReflectorStore.
func (s store) Delete(object any) error {
	kept, err := shrunk(object)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.slices, kept.name)
	s.recount()
	return nil
}

// Replace implements cache.ReflectorStore.
func (s store) Replace(objects []any, _ string) error {
	all := make(map[string]slice, len(objects))
	for _, object := range objects {
		kept, err := shrunk(object)
		if err != nil {
			return err
		}
		all[kept.name] = kept
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slices = all
	s.recount()
	return nil
}

// Resync implements cache.ReflectorStore.
func (store) Resync() error { return nil }
