package wiretest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Case is what a client sends over one connection, and what has to come of it.
//
// Its file begins with lines of comments. Those of the form "# key: value" are for the
// test, the others for people:
//
//	answers: the statuses of Latchkey's answers, then "next" where a request that comes
//	         after them over the same connection is served as any other, or "closed"
//	backend: a whole request that reaches the backend, as Seen writes it; a line for each
//	nginx:   the same, where nginx makes another request of it than a client sent;
//	haproxy: and so for HAProxy
//	then:    "end" where the client ends its half of the connection after the bytes
//
// After them come the bytes. The ends of the file's lines are not sent, and the escapes
// of a Go string are resolved: \r, \n, \x00. {{acme}} is a token of acme's, {{globex}}
// one of globex's, and {{a*300}} three hundred times an a.
type Case struct {
	// Name is the file's, without its ending.
	Name string
	// Text is what is sent, but for the tokens.
	Text string
	// Answers are the statuses of the answers.
	Answers []int
	// Next says that a request after the bytes is served.
	Next bool
	// Backend is what reaches the backend, and Through what does so by way of a proxy
	// that repairs what it was sent.
	Backend []string
	Through map[string][]string
	// Ends says that the client ends its half of the connection after the bytes.
	Ends bool
}

// Corpus reads the cases of a folder.
func Corpus(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no *.http", dir)
	}
	cases := make([]*Case, 0, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		c, err := ParseCase(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		c.Name = strings.TrimSuffix(filepath.Base(file), ".http")
		cases = append(cases, c)
	}
	return cases, nil
}

// ParseCase reads a case as Case describes it.
func ParseCase(text string) (*Case, error) {
	c := &Case{Through: map[string][]string{}}
	var sent strings.Builder
	answered := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		comment, ok := strings.CutPrefix(line, "#")
		if !ok || sent.Len() > 0 {
			sent.WriteString(line)
			continue
		}
		key, value, _ := strings.Cut(strings.TrimSpace(comment), ": ")
		answered = answered || key == "answers"
		if err := c.set(key, value); err != nil {
			return nil, err
		}
	}
	if !answered {
		return nil, errors.New("nothing says how it is answered")
	}
	var err error
	c.Text, err = unescape(sent.String())
	return c, err
}

func (c *Case) set(key, value string) error {
	switch key {
	case "answers":
		return c.setAnswers(strings.Fields(value))
	case "backend":
		c.Backend = append(c.Backend, value)
	case "nginx", "haproxy":
		c.Through[key] = append(c.Through[key], value)
	case "then":
		if value != "end" {
			return fmt.Errorf("then is %q, want end", value)
		}
		c.Ends = true
	}
	return nil
}

func (c *Case) setAnswers(words []string) error {
	if len(words) == 0 {
		return errors.New("answers is empty")
	}
	last := words[len(words)-1]
	if c.Next = last == "next"; !c.Next && last != "closed" {
		return fmt.Errorf("answers ends with %q, want next or closed", last)
	}
	for _, word := range words[:len(words)-1] {
		status, err := strconv.Atoi(word)
		if err != nil {
			return fmt.Errorf("answers: %w", err)
		}
		c.Answers = append(c.Answers, status)
	}
	return nil
}

var (
	repeated = regexp.MustCompile(`(?s)\{\{([^{}]+?)\*([0-9]+)\}\}`)
	escaped  = regexp.MustCompile(`\\(?:x[0-9a-fA-F]{2}|.)`)
)

func unescape(text string) (string, error) {
	var failed error
	text = escaped.ReplaceAllStringFunc(text, func(escape string) string {
		c, _, _, err := strconv.UnquoteChar(escape, 0)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("escape %s: %w", escape, err))
		}
		return string([]byte{byte(c)}) // of \x80 and above too
	})
	text = repeated.ReplaceAllStringFunc(text, func(match string) string {
		parts := repeated.FindStringSubmatch(match)
		n, err := strconv.Atoi(parts[2])
		failed = errors.Join(failed, err)
		return strings.Repeat(parts[1], n)
	})
	return text, failed
}

// Bytes are what is sent, with the tokens of the tenants.
func (c *Case) Bytes(tokens map[string]string) string {
	text := c.Text
	for tenant, plaintext := range tokens {
		text = strings.ReplaceAll(text, "{{"+tenant+"}}", plaintext)
	}
	return text
}

// Seen is a request as a case's file has it: method, target, tenant, and the body or,
// where that is long, its length.
func Seen(r *Request) string {
	body := strconv.Quote(r.Body)
	if len(r.Body) > 64 {
		body = fmt.Sprintf("%d bytes", len(r.Body))
	}
	return fmt.Sprintf("%s %s %s %s", r.Method, r.Target, r.Value("Latchkey-Tenant"), body)
}

// MayReach says whether the requests may reach the backend by way of the proxy, which
// may refuse a request and what comes after it: those that reach it without one, or
// those that the case names for the proxy.
func (c *Case) MayReach(proxy string, seen []string) bool {
	if repaired, ok := c.Through[proxy]; ok && slices.Equal(seen, repaired) {
		return true
	}
	return len(seen) <= len(c.Backend) && slices.Equal(seen, c.Backend[:len(seen)])
}
