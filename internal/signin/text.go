package signin

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSaid bounds what is repeated of another's text, in bytes.
const maxSaid = 300

// said repeats an error of the provider's for the log, without the secrets should it
// have quoted one.
func said(code, description string, secrets ...string) string {
	text := fmt.Sprintf("it says %q", redact(code, secrets))
	if description != "" {
		text += fmt.Sprintf(" (%q)", redact(description, secrets))
	}
	return text
}

// redact takes secrets out of a text, and makes it short and one line.
func redact(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	return clean(text)
}

// clean makes one line of another's text, of bounded length.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(cut(text, maxSaid)), " ")
}

// cut shortens a text to a number of bytes, between runes, and shows that it did.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	limit -= len("…")
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}

// printable says whether a text is valid and has nothing that can't be seen: no control
// characters, and none that turn the direction of what follows.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) })
}
