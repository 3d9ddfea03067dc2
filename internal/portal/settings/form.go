package settings

import "slices"

// fault is what is wrong with a field, and where.
type fault struct {
	// ID is the field's.
	ID string
	// Text says what is wrong; empty if nothing is.
	Text string
	// DescribedBy are the ids of its hint and of its error.
	DescribedBy string
}

// faultOf is what is wrong with a field, whose hint has an id, or has none.
func faultOf(c Create, field, hint string) fault {
	f := fault{ID: field, Text: c.Errors[field], DescribedBy: hint}
	if f.Text != "" {
		if hint != "" {
			f.DescribedBy += " "
		}
		f.DescribedBy += field + "-error"
	}
	return f
}

// formFields are the fields in the order in which they stand.
var formFields = []string{FieldName, FieldScope, FieldLifetime, FieldExpiresOn, FieldDescription, FieldOwner, FieldAddresses}

// faults are all that is wrong, in the order of the fields. Links to a group lead to
// its first choice.
func faults(c Create) []fault {
	var all []fault
	for _, field := range formFields {
		f := faultOf(c, field, "")
		if f.Text == "" {
			continue
		}
		switch {
		case field == FieldScope && len(scopes(c)) > 0:
			f.ID = "scope-0"
		case field == FieldLifetime && len(c.Lifetimes) > 0:
			f.ID = "lifetime-0"
		case field == FieldLifetime:
			f.ID = "lifetime-custom"
		}
		all = append(all, f)
	}
	return all
}

// choice is a scope that can be checked.
type choice struct {
	ScopeChoice
	Checked bool
}

// scopes are those to choose from. One that is no longer offered stays while it is
// chosen, for its error to stand beside it.
func scopes(c Create) []choice {
	var choices []choice
	offered := map[string]bool{}
	for _, s := range c.Scopes {
		offered[s.Name] = true
		choices = append(choices, choice{s, slices.Contains(c.Form.Scopes, s.Name)})
	}
	for _, name := range c.Form.Scopes {
		if !offered[name] {
			offered[name] = true
			choices = append(choices, choice{ScopeChoice{Name: name, Description: "This API does not know it."}, true})
		}
	}
	return choices
}
