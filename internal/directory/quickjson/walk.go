package quickjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var errUnexpected = errors.New("unexpected JSON")

// eachMember calls visit with the members of an object, one after the other; null
// has none. A key that is there twice, of which decoders make different things, is
// an error. It trusts that values are valid JSON, which the watch's framer checks,
// as far as it may: nonsense gives nonsense or an error, never a panic.
func eachMember(data []byte, visit func(key string, value []byte) error) error {
	data = space(data)
	if null(data) {
		return nil
	}
	if len(data) == 0 || data[0] != '{' {
		return errUnexpected
	}
	data = space(data[1:])
	if len(data) > 0 && data[0] == '}' {
		return nil
	}
	seen := make([]string, 0, 16)
	for {
		key, rest, err := member(data)
		if err != nil {
			return err
		}
		if slices.Contains(seen, key) {
			return errUnexpected
		}
		seen = append(seen, key)
		end := valueLength(rest)
		if end <= 0 {
			return errUnexpected
		}
		if err := visit(key, rest[:end]); err != nil {
			return err
		}
		rest = space(rest[end:])
		switch {
		case len(rest) > 0 && rest[0] == '}':
			return nil
		case len(rest) == 0 || rest[0] != ',':
			return errUnexpected
		}
		data = space(rest[1:])
	}
}

// member reads a key and its colon.
func member(data []byte) (key string, rest []byte, err error) {
	end := stringLength(data)
	if end < 0 {
		return "", nil, errUnexpected
	}
	key, err = text(data[:end])
	rest = space(data[end:])
	if err == nil && (len(rest) == 0 || rest[0] != ':') {
		err = errUnexpected
	}
	if err != nil {
		return "", nil, err
	}
	return key, space(rest[1:]), nil
}

func space(data []byte) []byte { return bytes.TrimLeft(data, " \t\r\n") }

func null(data []byte) bool { return string(data) == "null" }

// valueLength is where the value ends with which data begins, or negative.
func valueLength(data []byte) int {
	if len(data) == 0 {
		return -1
	}
	switch data[0] {
	case '"':
		return stringLength(data)
	case '{', '[':
		return nestedLength(data)
	}
	if end := bytes.IndexAny(data, ",]} \t\r\n"); end >= 0 {
		return end
	}
	return len(data)
}

func nestedLength(data []byte) int {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			n := stringLength(data[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		}
	}
	return -1
}

// stringLength is where the string ends with which data begins, quotes included.
func stringLength(data []byte) int {
	if len(data) == 0 || data[0] != '"' {
		return -1
	}
	for i := 1; i < len(data); {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return -1
		}
		i += n + 1
		if !escaped(data[1 : i-1]) {
			return i
		}
	}
	return -1
}

// escaped says whether what follows the text is escaped: an odd number of
// backslashes ends it.
func escaped(text []byte) bool {
	return (len(text)-len(bytes.TrimRight(text, `\`)))%2 == 1
}

// text is a string's value, or empty for null.
func text(value []byte) (string, error) {
	if null(value) {
		return "", nil
	}
	if len(value) < 2 || value[0] != '"' {
		return "", errUnexpected
	}
	for _, c := range value {
		if c == '\\' || c < ' ' || c > '~' {
			var s string
			err := json.Unmarshal(value, &s)
			return s, err
		}
	}
	return string(value[1 : len(value)-1]), nil
}

func texts(value []byte) (map[string]string, error) {
	var m map[string]string
	err := json.Unmarshal(value, &m)
	return m, err
}

func boolean(value []byte) (bool, error) {
	switch string(value) {
	case "true":
		return true, nil
	case "false", "null":
		return false, nil
	}
	return false, errUnexpected
}

func integer(value []byte) (int32, error) {
	if null(value) {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(value), 10, 32)
	return int32(n), err
}

func duration(value []byte) (*metav1.Duration, error) {
	if null(value) {
		return nil, nil
	}
	d := &metav1.Duration{}
	err := d.UnmarshalJSON(value)
	return d, err
}

func timestamp(value []byte) (*metav1.Time, error) {
	if null(value) {
		return nil, nil
	}
	t := &metav1.Time{}
	err := t.UnmarshalJSON(value)
	return t, err
}
