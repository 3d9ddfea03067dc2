package wiretest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Request is a request as the backend was sent it.
type Request struct {
	// Serial numbers the requests that a backend took. The answer names it.
	Serial int
	// Method and Target are those of the request's line.
	Method, Target string
	// Fields are the header's, in their order.
	Fields []Field
	// Body is what came of the body, without its framing: a megabyte at most.
	Body string
	// Complete says that the body came to its end.
	Complete bool
}

// Field is a field of a header, as it was sent.
type Field struct{ Name, Value string }

// Values are those of the fields of the name, whatever its case, and of what some
// servers take for the name: with underscores in place of hyphens.
func (r *Request) Values(name string) (values []string) {
	for _, field := range r.Fields {
		if strings.EqualFold(strings.ReplaceAll(field.Name, "_", "-"), name) {
			values = append(values, field.Value)
		}
	}
	return values
}

// Value is the only one of the name, or empty where there are none or several.
func (r *Request) Value(name string) string {
	if values := r.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}

// What every parser reads alike. Of HTTP (RFC 9112) that is less than is allowed.
var (
	requestLine = regexp.MustCompile(`^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[!-~]*) HTTP/1\.1$`)
	fieldName   = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	chunkSize   = regexp.MustCompile(`^[0-9a-f]{1,16}$`)
)

// plainValue says whether a value has no control characters but tabs. readLine has
// refused those that would end it.
func plainValue(value string) bool {
	return strings.IndexFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) < 0
}

// errNoRequest: the connection ended between two requests.
var errNoRequest = errors.New("no request")

// errCut: the connection ended within a request.
var errCut = errors.New("the request breaks off")

// maxBody is how much of a body is kept.
const maxBody = 1 << 20

// readHead reads the head of a request.
func readHead(in *bufio.Reader) (*Request, error) {
	line, err := readLine(in)
	if errors.Is(err, io.EOF) && line == "" {
		return nil, errNoRequest
	}
	if err != nil {
		return nil, err
	}
	parts := requestLine.FindStringSubmatch(line)
	if parts == nil {
		return nil, fmt.Errorf("the request's line is %q", line)
	}
	r := &Request{Method: parts[1], Target: parts[2]}
	for {
		line, err := readLine(in)
		if err != nil {
			return nil, cut(err)
		}
		if line == "" {
			return r, r.check()
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !fieldName.MatchString(name) || !plainValue(value) {
			return nil, fmt.Errorf("a header's line is %q", line)
		}
		r.Fields = append(r.Fields, Field{name, value})
	}
}

// readLine reads up to a CR and a LF, and refuses either by itself.
func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		if line != "" {
			err = fmt.Errorf("%w: %q", errCut, line)
		}
		return line, err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return "", fmt.Errorf("a line is %q", line)
	}
	return text, nil
}

// check refuses what has two meanings: two framings, two hosts, options of the
// connection that a next proxy would take for headers to be dropped.
func (r *Request) check() error {
	for name, want := range map[string]*regexp.Regexp{
		"Host":              regexp.MustCompile(`^[a-z0-9A-Z.:-]+$`),
		"Content-Length":    regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`),
		"Transfer-Encoding": regexp.MustCompile(`^chunked$`),
		"Connection":        regexp.MustCompile(`^(close|keep-alive|Upgrade)$`),
	} {
		values := r.Values(name)
		if len(values) > 1 || len(values) == 1 && !want.MatchString(values[0]) {
			return fmt.Errorf("%s is %q", name, values)
		}
	}
	switch {
	case len(r.Values("Host")) == 0:
		return errors.New("there is no Host")
	case len(r.Values("Content-Length"))+len(r.Values("Transfer-Encoding")) > 1:
		return errors.New("the body has two framings")
	case len(r.Values("Trailer"))+len(r.Values("Te")) > 0:
		return errors.New("there are headers about trailers")
	}
	return nil
}

// readBody reads the body that the head announces.
func (r *Request) readBody(in *bufio.Reader) error {
	var body strings.Builder
	defer func() { r.Body = body.String() }()
	if r.Value("Transfer-Encoding") == "" {
		length, _ := strconv.ParseInt("0"+r.Value("Content-Length"), 10, 64) // check looked at it
		return copyBody(&body, in, length)
	}
	for {
		line, err := readLine(in)
		if err != nil {
			return cut(err)
		}
		if !chunkSize.MatchString(line) {
			return fmt.Errorf("a chunk's size is %q", line)
		}
		size, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return fmt.Errorf("a chunk's size is %q: %w", line, err)
		}
		if err := copyBody(&body, in, size); err != nil {
			return err
		}
		if line, err := readLine(in); err != nil {
			return cut(err)
		} else if line != "" {
			return fmt.Errorf("after a chunk of %d bytes comes %q", size, line)
		}
		if size == 0 {
			return nil
		}
	}
}

func copyBody(to *strings.Builder, in *bufio.Reader, length int64) error {
	kept := min(length, int64(maxBody-to.Len()))
	_, err := io.CopyN(to, in, kept)
	if err == nil {
		_, err = io.CopyN(io.Discard, in, length-kept)
	}
	return cut(err)
}

// cut tells a connection that ended from a request that is not one.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return errCut
	}
	return err
}
