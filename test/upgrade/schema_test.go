package upgrade

import (
	"fmt"
	"reflect"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// incompatible are the ways in which an object, or a client, of the old CRD may not
// do with the new one. A rule that is not known here is one that must not change.
func incompatible(before, after *apiextensionsv1.CustomResourceDefinition) []string {
	c := &comparison{}
	at := before.Spec.Names.Plural
	if before.Spec.Group != after.Spec.Group || before.Spec.Scope != after.Spec.Scope || before.Spec.Names.Kind != after.Spec.Names.Kind {
		c.found(at, "group, scope or kind changed")
	}
	for _, name := range before.Spec.Names.ShortNames {
		if !slices.Contains(after.Spec.Names.ShortNames, name) {
			c.found(at, "short name %s removed", name)
		}
	}
	for i := range before.Spec.Versions {
		c.version(at+" "+before.Spec.Versions[i].Name, &before.Spec.Versions[i], after.Spec.Versions)
	}
	return c.findings
}

type comparison struct{ findings []string }

func (c *comparison) found(at, what string, args ...any) {
	c.findings = append(c.findings, at+": "+fmt.Sprintf(what, args...))
}

func (c *comparison) version(at string, before *apiextensionsv1.CustomResourceDefinitionVersion, all []apiextensionsv1.CustomResourceDefinitionVersion) {
	i := slices.IndexFunc(all, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == before.Name })
	if i < 0 {
		c.found(at, "version removed")
		return
	}
	after := &all[i]
	if before.Served && !after.Served {
		c.found(at, "no longer served")
	}
	if !reflect.DeepEqual(before.Subresources, after.Subresources) {
		c.found(at, "subresources changed")
	}
	for _, field := range before.SelectableFields {
		if !slices.Contains(after.SelectableFields, field) {
			c.found(at, "field %s can no longer be selected", field.JSONPath)
		}
	}
	c.schema(at+" ", before.Schema.OpenAPIV3Schema, after.Schema.OpenAPIV3Schema)
}

func (c *comparison) schema(at string, before, after *apiextensionsv1.JSONSchemaProps) {
	if before.Type != after.Type || before.XIntOrString != after.XIntOrString {
		c.found(at, "type changed from %q to %q", before.Type, after.Type)
	}
	for _, name := range after.Required {
		if !slices.Contains(before.Required, name) {
			c.found(at, "%s became required", name)
		}
	}
	c.values(at, before, after)
	c.bounds(at, before, after)
	c.rules(at, before, after)
	c.lists(at, before, after)
	c.below(at, before, after)
}

func (c *comparison) values(at string, before, after *apiextensionsv1.JSONSchemaProps) {
	if after.Pattern != "" && before.Pattern != after.Pattern {
		c.found(at, "pattern changed from %q to %q", before.Pattern, after.Pattern)
	}
	if after.Format != "" && before.Format != after.Format {
		c.found(at, "format changed from %q to %q", before.Format, after.Format)
	}
	if before.Nullable && !after.Nullable {
		c.found(at, "no longer nullable")
	}
	if !reflect.DeepEqual(before.Default, after.Default) {
		c.found(at, "default changed")
	}
	if len(after.Enum) == 0 {
		return
	}
	if len(before.Enum) == 0 {
		c.found(at, "became an enum")
	}
	for _, value := range before.Enum {
		if !slices.ContainsFunc(after.Enum, func(v apiextensionsv1.JSON) bool { return string(v.Raw) == string(value.Raw) }) {
			c.found(at, "value %s removed", value.Raw)
		}
	}
}

// bounds compares what a value may be at most and at least.
func (c *comparison) bounds(at string, before, after *apiextensionsv1.JSONSchemaProps) {
	for _, b := range []struct {
		name          string
		before, after *float64
		atLeast       bool
	}{
		{"maximum", before.Maximum, after.Maximum, false},
		{"maxLength", float(before.MaxLength), float(after.MaxLength), false},
		{"maxItems", float(before.MaxItems), float(after.MaxItems), false},
		{"maxProperties", float(before.MaxProperties), float(after.MaxProperties), false},
		{"minimum", before.Minimum, after.Minimum, true},
		{"minLength", float(before.MinLength), float(after.MinLength), true},
		{"minItems", float(before.MinItems), float(after.MinItems), true},
		{"minProperties", float(before.MinProperties), float(after.MinProperties), true},
	} {
		switch {
		case b.after == nil:
		case b.before == nil:
			c.found(at, "%s %v added", b.name, *b.after)
		case b.atLeast && *b.after > *b.before, !b.atLeast && *b.after < *b.before:
			c.found(at, "%s changed from %v to %v", b.name, *b.before, *b.after)
		}
	}
	if after.ExclusiveMaximum && !before.ExclusiveMaximum || after.ExclusiveMinimum && !before.ExclusiveMinimum {
		c.found(at, "a bound became exclusive")
	}
	if after.UniqueItems && !before.UniqueItems || after.MultipleOf != nil && !reflect.DeepEqual(before.MultipleOf, after.MultipleOf) {
		c.found(at, "uniqueItems or multipleOf became tighter")
	}
}

func float(n *int64) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

// rules compares CEL rules by their text: whether another text is as loose, a
// person has to say.
func (c *comparison) rules(at string, before, after *apiextensionsv1.JSONSchemaProps) {
	for _, rule := range after.XValidations {
		if !slices.ContainsFunc(before.XValidations, func(r apiextensionsv1.ValidationRule) bool { return r.Rule == rule.Rule }) {
			c.found(at, "rule added: %s", rule.Rule)
		}
	}
	for name, pair := range map[string][2]any{
		"not": {before.Not, after.Not}, "allOf": {before.AllOf, after.AllOf}, "anyOf": {before.AnyOf, after.AnyOf}, "oneOf": {before.OneOf, after.OneOf},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			c.found(at, "%s changed", name)
		}
	}
}

// lists compares how lists and maps are merged, by which apply knows whose is what.
func (c *comparison) lists(at string, before, after *apiextensionsv1.JSONSchemaProps) {
	if !reflect.DeepEqual(before.XListType, after.XListType) || !slices.Equal(before.XListMapKeys, after.XListMapKeys) ||
		!reflect.DeepEqual(before.XMapType, after.XMapType) || !reflect.DeepEqual(before.XPreserveUnknownFields, after.XPreserveUnknownFields) ||
		before.XEmbeddedResource != after.XEmbeddedResource {
		c.found(at, "list type, map type or unknown fields changed")
	}
}

func (c *comparison) below(at string, before, after *apiextensionsv1.JSONSchemaProps) {
	for name, property := range before.Properties {
		if now, ok := after.Properties[name]; ok {
			c.schema(at+"."+name, &property, &now)
		} else {
			c.found(at+"."+name, "removed")
		}
	}
	switch {
	case before.Items == nil && after.Items == nil:
	case before.Items == nil || after.Items == nil || before.Items.Schema == nil || after.Items.Schema == nil:
		c.found(at, "items changed")
	default:
		c.schema(at+"[]", before.Items.Schema, after.Items.Schema)
	}
	switch old, now := before.AdditionalProperties, after.AdditionalProperties; {
	case old == nil && now == nil:
	case old == nil || now == nil || old.Schema == nil || now.Schema == nil:
		if !reflect.DeepEqual(old, now) {
			c.found(at, "additionalProperties changed")
		}
	default:
		c.schema(at+"{}", old.Schema, now.Schema)
	}
}
