package plaintext_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/test/plaintext"
)

// haul is what was found in a kind of place.
type haul struct {
	place string
	size  int64
	// ids are how many tokens were recognised by their public id, which shows that the
	// search looks where tokens are spoken of; planted are the forms that were put
	// there to be found.
	ids, planted map[string]bool
	leaks        []string
	note         string
	// unsearched is why a place was not searched to its end.
	unsearched error
}

// hunt searches places for tokens that must not be there.
type hunt struct {
	t      *testing.T
	search *plaintext.Search
	// known are the ids of the tokens that are looked for, and decoys are tokens that were
	// never issued, and were planted.
	known, decoys map[string]bool
	hauls         []*haul
}

// Prefixes of needles' names.
const (
	idNeedle     = "id "
	secretNeedle = "secret "
	decoyNeedle  = "decoy "
)

func newHunt(t *testing.T, decoys []decoy) *hunt {
	t.Helper()
	h := &hunt{t: t, search: plaintext.NewSearch(), known: map[string]bool{}, decoys: map[string]bool{}}
	for _, d := range decoys {
		must(t, h.search.AddSecret(decoyNeedle+d.form, secretOf(d.plaintext)))
		h.decoys[d.plaintext] = true
	}
	return h
}

// know looks for all tokens that there are by now, and by their ids for those that somebody
// was given: the others may have been stored nowhere.
func (h *hunt) know(w *world) {
	h.t.Helper()
	for id, text := range w.tokens {
		if !h.known[id] {
			must(h.t, errors.Join(h.search.AddText(idNeedle+id, id), h.search.AddSecret(secretNeedle+id, secretOf(text))))
		}
		h.known[id] = true
	}
	for id, text := range w.withheld {
		if !h.known[id] {
			must(h.t, h.search.AddSecret(secretNeedle+id, secretOf(text)))
		}
		h.known[id] = true
	}
}

// at begins a kind of place.
func (h *hunt) at(place string) *haul {
	found := &haul{place: place, ids: map[string]bool{}, planted: map[string]bool{}}
	h.hauls = append(h.hauls, found)
	return found
}

// read searches a stream.
func (h *hunt) read(found *haul, where string, r io.Reader) error {
	unknown := &wellFormed{decoys: h.decoys}
	finds, size, err := h.search.Read(io.TeeReader(r, unknown))
	found.size += size
	for _, find := range finds {
		if id, ok := strings.CutPrefix(find.Needle, idNeedle); ok {
			found.ids[id] = true
		} else if form, ok := strings.CutPrefix(find.Needle, decoyNeedle); ok {
			if form == find.Form {
				found.planted[form] = true
			}
		} else {
			found.leaks = append(found.leaks, fmt.Sprintf("%s holds %d bytes of the %s of %s at offset %d", where, find.Length, find.Form, find.Needle, find.Offset))
		}
	}
	for id := range unknown.ids {
		found.leaks = append(found.leaks, fmt.Sprintf("%s holds a token with the id %s", where, id))
	}
	return err
}

// files searches the files of a folder for which want says so, by their paths in it.
func (h *hunt) files(place, dir string, want func(path string) bool) *haul {
	h.t.Helper()
	found := h.at(place)
	count := 0
	must(h.t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		relative, _ := filepath.Rel(dir, path)
		if err != nil || !entry.Type().IsRegular() || !want(relative) {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		count++
		return h.read(found, relative, file)
	}))
	found.note = fmt.Sprintf("%d files", count)
	if count == 0 {
		h.t.Errorf("%s: there is no file in %s", place, dir)
	}
	return found
}

// memory searches what a process has in memory, apart from the files that it maps.
// It stands still meanwhile.
func (h *hunt) memory(place string, pid int) {
	h.t.Helper()
	found := h.at(place)
	regions, err := writableMemory(pid)
	for _, region := range regions {
		if err = h.read(found, fmt.Sprintf("process %d at %#x", pid, region.Offset()), region); err != nil {
			break
		}
	}
	if err != nil {
		found.unsearched = err
	}
}

// region is a part of a process's memory. What of it can't be read is left out.
type region struct {
	memory     *os.File
	next, end  int64
	unreadable int64
}

// Offset is where the region begins.
func (r *region) Offset() int64 { return r.next }

func (r *region) Read(b []byte) (int, error) {
	const page = 4096
	for r.next < r.end {
		n, err := r.memory.ReadAt(b[:min(int64(len(b)), r.end-r.next)], r.next)
		r.next += int64(n)
		if n > 0 {
			return n, nil
		}
		if err != nil && r.next < r.end {
			r.next += min(page, r.end-r.next)
			r.unreadable += page
		}
	}
	return 0, io.EOF
}

var mapped = regexp.MustCompile(`(?m)^([0-9a-f]+)-([0-9a-f]+) rw.. \S+ \S+ \S+ *(.*)$`)

// writableMemory are the parts of a process's memory in which it can have written.
func writableMemory(pid int) ([]*region, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	var regions []*region
	for _, match := range mapped.FindAllStringSubmatch(string(maps), -1) {
		from, fromErr := strconv.ParseInt(match[1], 16, 64)
		to, toErr := strconv.ParseInt(match[2], 16, 64)
		if fromErr != nil || toErr != nil {
			return nil, errors.Join(fromErr, toErr)
		}
		regions = append(regions, &region{memory: memory, next: from, end: to})
	}
	if len(regions) == 0 {
		return nil, fmt.Errorf("process %d has no memory that it can write to", pid)
	}
	var probe [1]byte
	if _, err := memory.ReadAt(probe[:], regions[0].next); err != nil {
		return nil, err
	}
	return regions, nil
}

// wellFormed recognises any token by its checksum, also one that nobody was given.
type wellFormed struct {
	decoys map[string]bool
	ids    map[string]bool
	tail   []byte
}

const tokenLength = len("lk_") + token.IDLength + 1 + 49

var prefix = []byte("lk_")

// Write implements io.Writer.
func (w *wellFormed) Write(b []byte) (int, error) {
	w.tail = append(w.tail, b[:min(len(b), tokenLength)]...)
	w.look(w.tail)
	w.look(b)
	w.tail = append(w.tail[:0], b[max(0, len(b)-tokenLength):]...)
	return len(b), nil
}

func (w *wellFormed) look(b []byte) {
	for {
		at := bytes.Index(b, prefix)
		if at < 0 || len(b) < at+tokenLength {
			return
		}
		text := string(b[at:][:tokenLength])
		if id, err := token.Parse("lk", text); err == nil && !w.decoys[text] {
			if w.ids == nil {
				w.ids = map[string]bool{}
			}
			w.ids[id] = true
		}
		b = b[at+len(prefix):]
	}
}

// table tells what was searched, and what was found.
func (h *hunt) table(tokens int) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "place\tMB\tof %d tokens known by id\tplanted forms found\tplaintexts found\t\n", tokens)
	for _, found := range h.hauls {
		_, _ = fmt.Fprintf(w, "%s\t%.1f\t%d\t%d of %d\t%d\t%s\n", found.place, float64(found.size)/1e6, len(found.ids), len(found.planted), len(h.decoys), len(found.leaks), found.note)
	}
	_ = w.Flush()
	return b.String()
}
