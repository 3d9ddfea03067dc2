package openapi

import (
	"cmp"
	"slices"
	"strings"
)

// template is a path template, cut at its slashes.
type template struct {
	segments []segment
	// text is the template with its literals decoded.
	text string
}

// segment is one of a template: texts and the variables between them. A literal
// has one text; {id} has two that are empty; {id}.json has "" and ".json". Every
// variable stands for at least one character.
type segment struct{ texts []string }

func (s segment) literal() bool  { return len(s.texts) == 1 }
func (s segment) variable() bool { return len(s.texts) == 2 && s.texts[0] == "" && s.texts[1] == "" }

// shape is what two segments have in common that match the same.
func (s segment) shape() string { return strings.Join(s.texts, "{}") }

// folded is the segment in lower case.
func (s segment) folded() segment {
	lower := make([]string, len(s.texts))
	for i, text := range s.texts {
		lower[i] = strings.ToLower(text)
	}
	return segment{lower}
}

// compare puts the more concrete segment first: literals, then those with more
// text, then those with fewer variables.
func (s segment) compare(o segment) int {
	if s.literal() != o.literal() {
		if s.literal() {
			return -1
		}
		return 1
	}
	length := func(s segment) int { return len(strings.Join(s.texts, "")) }
	return cmp.Or(
		cmp.Compare(length(o), length(s)),
		cmp.Compare(len(s.texts), len(o.texts)),
		slices.Compare(s.texts, o.texts),
	)
}

// matchesEnds reports whether a request's segment begins and ends as a segment with
// variables does, with room for the variables.
func (s segment) matchesEnds(text string) bool {
	first, last := s.texts[0], s.texts[len(s.texts)-1]
	return len(text) >= len(first)+len(last)+len(s.texts)-1 && strings.HasPrefix(text, first) && strings.HasSuffix(text, last)
}

// matchesMiddle reports whether a request's segment, whose ends match, has the texts
// between the variables too.
func (s segment) matchesMiddle(text string) bool {
	first, last := s.texts[0], s.texts[len(s.texts)-1]
	text = text[len(first) : len(text)-len(last)]
	// The earliest place for each text leaves the most to those behind it.
	for _, middle := range s.texts[1 : len(s.texts)-1] {
		at := strings.Index(text[1:], middle)
		if at < 0 {
			return false
		}
		text = text[1+at+len(middle):]
		if text == "" {
			return false
		}
	}
	return true
}

// parseTemplate reads a whole path template. problem says what is wrong with it,
// as the end of a sentence.
func parseTemplate(text string) (t template, problem string) {
	if !strings.HasPrefix(text, "/") {
		return t, "must begin with a slash"
	}
	if strings.ContainsAny(text, "?#") {
		return t, "must have no ? and no #: a query or a fragment does not choose an operation"
	}
	parts := strings.Split(text[1:], "/")
	var decoded strings.Builder
	for i, part := range parts {
		if part == "" && i < len(parts)-1 || part == "." || part == ".." {
			return t, "has an empty segment, or one of dots, which no request reaches"
		}
		s, whole, problem := parseSegment(part)
		if problem != "" {
			return t, problem
		}
		t.segments = append(t.segments, s)
		decoded.WriteString("/" + whole)
	}
	t.text = decoded.String()
	return t, ""
}

func parseSegment(part string) (s segment, whole, problem string) {
	rest := part
	for {
		literal, behind, more := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return s, "", "has a } without a {"
		}
		text, ok := decodeLiteral(literal)
		if !ok {
			return s, "", "has a percent sign that encodes nothing, or a delimiter: write that as it is"
		}
		if more && text == "" && len(s.texts) > 0 {
			return s, "", "has two variables with nothing between them"
		}
		s.texts = append(s.texts, text)
		whole += text
		if !more {
			return s, whole, ""
		}
		name, after, closed := strings.Cut(behind, "}")
		if !closed || name == "" || strings.Contains(name, "{") {
			return s, "", "has a { without a name and a }"
		}
		whole += "{" + name + "}"
		rest = after
	}
}

// decodeLiteral decodes a template's text. Encoded delimiters are refused: see
// Match for what they would mean.
func decodeLiteral(text string) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, true
	}
	decoded, delimiters, ok := decode(text, false)
	return decoded, ok && !delimiters
}

// decode decodes percent-encoding, or all of it but that of delimiters (the
// reserved characters of RFC 3986, section 2.2). delimiters says whether there
// were any. It is not ok where something is encoded wrongly, or a slash is.
func decode(text string, keepDelimiters bool) (decoded string, delimiters, ok bool) {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			out = append(out, text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false, false
		}
		high, low := unhex(text[i+1]), unhex(text[i+2])
		if high > 15 || low > 15 {
			return "", false, false
		}
		c := high<<4 | low
		i += 2
		switch {
		case c == '/':
			return "", false, false
		case strings.IndexByte(":?#[]@!$&'()*+,;=%", c) >= 0:
			delimiters = true
			if keepDelimiters {
				const digits = "0123456789ABCDEF"
				out = append(out, '%', digits[high], digits[low])
				continue
			}
		}
		out = append(out, c)
	}
	return string(out), delimiters, true
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
