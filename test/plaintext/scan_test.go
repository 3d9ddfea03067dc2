package plaintext_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/test/plaintext"
)

// faulty ends the names of programs with fault points (internal/fault).
const faulty = "-faults"

// settingsEvery is how many lifecycles there are to one whose tokens are also sent to all
// the wrong places that Settings has, which are more than a hundred requests.
const settingsEvery = 3

// workers is how many tokens live at a time.
const workers = 4

// No plaintext of a token is anywhere where something of ours writes, whatever way it
// was issued, however it was used, and whatever went wrong.
func TestNoPlaintextIsWritten(t *testing.T) {
	w := newWorld(t)
	w.live(*lifecycles)
	for round := range max(1, *lifecycles/200) {
		w.disturb(round)
	}
	decoys := w.plant()

	h := newHunt(t, decoys)
	h.know(w)
	h.programs(w, "")
	w.crash(w.manager)
	w.crash(w.apiServer)
	w.panics()
	h.know(w)
	h.programs(w, faulty)
	w.crashUnderWay()
	w.crash(w.manager)
	h.know(w)
	h.cluster(w)
	must(t, env().Stop()) // so that everything is in files
	h.rest(w)
	t.Logf("%d lifecycles, %d tokens, %d that nobody was given, %d panics\n%s", *lifecycles, len(w.tokens), len(w.withheld), len(w.asked), h.table(len(w.tokens)))
	h.judge(len(w.tokens))
}

// live takes tokens from being issued, in every way in turn, to their end.
func (w *world) live(n int) {
	w.t.Helper()
	group, ctx := errgroup.WithContext(w.t.Context())
	group.SetLimit(workers)
	for i := range n {
		if ctx.Err() != nil || w.t.Failed() {
			break
		}
		group.Go(func() error {
			way := ways[i%len(ways)]
			name := fmt.Sprintf("life-%d", i)
			last := ""
			for _, last = range way.issue(w, name) {
				if w.t.Failed() {
					return fmt.Errorf("by %s no token was issued", way.name)
				}
				w.works(acme, last)
				w.misuse(last)
				if (i/len(ways)+i%len(ways))%settingsEvery == 0 { // each way has its turn
					w.misuseSettings(last)
				}
				verbose[i%len(verbose)](w, last)
			}
			endings[i%len(endings)](w, name, last)
			return nil
		})
	}
	must(w.t, group.Wait())
}

// decoy is a token that was never issued, and the form in which it was planted.
type decoy struct{ form, text, plaintext string }

// plant puts a token in each form where the search has to find it: in objects, and so
// in etcd, in the audit log and in memory, in events, and in a log.
func (w *world) plant() []decoy {
	w.t.Helper()
	log, err := os.Create(filepath.Join(w.logs, "planted.log"))
	must(w.t, err)
	defer log.Close()
	var decoys []decoy
	for i := range plaintext.Forms(strings.Repeat("x", 49)) {
		minted, err := token.Mint("lk")
		must(w.t, err)
		form := plaintext.Forms(secretOf(minted.Reveal()))[i]
		decoys = append(decoys, decoy{form.Name, form.Text, minted.Reveal()})
		_, err = fmt.Fprintln(log, form.Text)
		must(w.t, err)
		name := fmt.Sprintf("planted-%d", i)
		must(w.t, env().Client.Create(w.t.Context(), &v1alpha1.ApiToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.TenantNamespacePrefix + acme, Name: name},
			Spec:       v1alpha1.ApiTokenSpec{Description: form.Text},
		}))
		must(w.t, env().Client.Create(w.t.Context(), &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, EventTime: metav1.NowMicro(),
			ReportingController: "planted", ReportingInstance: "planted", Action: "Plant", Reason: "Planted", Type: corev1.EventTypeNormal, Note: form.Text,
		}))
		if form.Name == "hex" { // the one that can be a name, and so in a metric
			w.plantInMetrics(form.Text[:60])
		}
	}
	return decoys
}

// plantInMetrics makes a token of that name, whose expiry has a metric.
func (w *world) plantInMetrics(name string) {
	w.t.Helper()
	w.plugin("create", name, "--lifetime", "1h").token()
	testenv.Eventually(w.t, func() error {
		if page := w.page(http.DefaultClient, "http://"+w.managerMetrics+"/metrics"); !strings.Contains(page, name) {
			return fmt.Errorf("no metric has the name %s", name)
		}
		return nil
	})
}

func (w *world) page(c *http.Client, url string) string {
	w.t.Helper()
	response, err := c.Get(url)
	must(w.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(w.t, err)
	if response.StatusCode != http.StatusOK {
		w.t.Fatalf("GET %s: %s", url, response.Status)
	}
	return string(content)
}

// programs searches the metrics of ours, and the memory of the manager, which never needs
// a plaintext: more than a heap profile has of it. Their names end with the suffix.
func (h *hunt) programs(w *world, suffix string) {
	h.t.Helper()
	for name, address := range map[string]string{"manager": w.managerMetrics, "apiserver": w.admin} {
		h.page(w, "metrics of "+name+suffix, "http://"+address+"/metrics", http.DefaultClient)
	}
	h.frozen("memory of manager"+suffix, w.manager.PID())
}

// cluster searches the same of Kubernetes', and events as its API shows them.
func (h *hunt) cluster(w *world) {
	h.t.Helper()
	host := strings.TrimSuffix(env().Config.Host, "/")
	kubernetes, err := rest.HTTPClientFor(env().Config)
	must(h.t, err)
	h.page(w, "metrics of kube-apiserver", host+"/metrics", kubernetes)
	h.page(w, "events", host+"/apis/events.k8s.io/v1/events", kubernetes)
	for _, program := range []string{"kube-apiserver", "etcd"} {
		h.frozen("memory of "+program, processOf(h.t, program))
	}
}

func (h *hunt) page(w *world, place, url string, client *http.Client) {
	h.t.Helper()
	must(h.t, h.read(h.at(place), url, strings.NewReader(w.page(client, url))))
}

// frozen searches the memory of a process while it stands still.
func (h *hunt) frozen(place string, pid int) {
	h.t.Helper()
	must(h.t, syscall.Kill(pid, syscall.SIGSTOP))
	defer func() { must(h.t, syscall.Kill(pid, syscall.SIGCONT)) }()
	h.memory(place, pid)
}

// processOf finds a process of the control plane's by the folder that it was given.
func processOf(t *testing.T, program string) int {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, file := range commands {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		path, arguments, _ := strings.Cut(string(content), "\x00")
		if filepath.Base(path) == program && strings.Contains(arguments, env().Dir) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			must(t, err)
			return pid
		}
	}
	t.Fatalf("no process %s runs in %s", program, env().Dir)
	return 0
}

// rest searches all files that there are once everything has ended.
func (h *hunt) rest(w *world) {
	h.t.Helper()
	etcd := filepath.Join(env().Dir, "etcd", "member")
	isSnapshot := regexp.MustCompile(`\.snap(\.db)?$`).MatchString
	h.files("etcd's database", etcd, func(path string) bool { return path == filepath.Join("snap", "db") })
	h.files("etcd's write-ahead log", etcd, func(path string) bool { return strings.HasPrefix(path, "wal") })
	if snapshots, _ := filepath.Glob(filepath.Join(etcd, "snap", "*.snap")); len(snapshots) > 0 {
		h.files("etcd's snapshots", etcd, isSnapshot)
	}
	h.files("audit log", auditDir, func(string) bool { return true })
	h.files("logs of ours", w.logs, func(string) bool { return true })
	h.files("every other file", env().Dir, func(path string) bool {
		return !strings.HasPrefix(path, "etcd"+string(filepath.Separator)) && !strings.HasPrefix(path, "logs") && !strings.HasPrefix(path, "bin")
	})
}

// judge fails the test for what was found, and for what was not although it is there.
func (h *hunt) judge(tokens int) {
	h.t.Helper()
	all := len(h.decoys)
	expected := map[string]struct{ ids, planted int }{
		"etcd's database": {tokens / 2, all}, "etcd's write-ahead log": {tokens / 2, all}, "audit log": {tokens, all},
		"logs of ours": {tokens, all}, "events": {0, all}, "metrics of manager": {0, 1}, "metrics of manager" + faulty: {0, 1},
		"memory of manager": {0, all}, "memory of manager" + faulty: {0, all}, "memory of kube-apiserver": {0, all},
	}
	for _, found := range h.hauls {
		for i, leak := range found.leaks {
			if i == 10 {
				h.t.Errorf("%s: and %d more", found.place, len(found.leaks)-i)
				break
			}
			h.t.Errorf("%s: %s", found.place, leak)
		}
		if found.unsearched != nil {
			h.t.Errorf("%s was not searched to its end: %v", found.place, found.unsearched)
		}
		if want := expected[found.place]; len(found.ids) < want.ids || len(found.planted) < want.planted {
			h.t.Errorf("%s: %d tokens are known by their ids and %d planted forms were found, want %d and %d: the search does not see what is there",
				found.place, len(found.ids), len(found.planted), want.ids, want.planted)
		}
	}
}

var tokenPattern = regexp.MustCompile(token.Pattern("lk"))

// withoutToken makes a text fit for a test's output.
func withoutToken(s string) string { return tokenPattern.ReplaceAllString(s, "[a token]") }
