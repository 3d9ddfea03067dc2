package programs

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// target describes one call of `go build`.
type target struct {
	// name names the programs for the user.
	name string
	// dir is the module's folder.
	dir      string
	packages []string
	tags     []string
	output   string
	// linkerFlags are added to those of every program.
	linkerFlags string
	// parts are the packages within it that the user knows by a name of their own.
	parts []namedPackage
}

type namedPackage struct{ path, name string }

// Latchkey are the packages of the programs that a user of Latchkey has.
var Latchkey = []string{"./cmd/manager", "./cmd/apiserver", "./cmd/kubectl-latchkey"}

// Build builds packages of this repository, such as ./cmd/manager, into a folder, and what
// this machine lacks of the control plane. It returns the control plane's folder.
func Build(ctx context.Context, report *Report, dir string, packages ...string) (controlPlane string, err error) {
	own := &target{name: "Latchkey's programs", dir: Root(), packages: packages, output: dir + string(filepath.Separator)}
	return build(ctx, report, own)
}

// ControlPlane returns a folder with etcd, kube-apiserver, kube-controllers and kubectl. It
// builds those that this machine lacks.
func ControlPlane(ctx context.Context, report *Report) (string, error) {
	return build(ctx, report)
}

func build(ctx context.Context, report *Report, own ...*target) (string, error) {
	b := &builder{report: report, targets: own, started: time.Now()}
	if dir, ok := fromAssets(); ok {
		return dir, b.run(ctx)
	}
	p, err := findPlane()
	if err != nil {
		return "", err
	}
	if !complete(p.dir) {
		return p.dir, b.runWith(ctx, p)
	}
	return p.dir, b.run(ctx)
}

// builder builds targets one after the other, and reports how far it is.
type builder struct {
	report  *Report
	targets []*target
	started time.Time

	mu       sync.Mutex
	estimate *estimate // nil while the packages are not known
	fetched  int       // modules
	compiled int       // packages
	// linking is the name of the target that is being built, until Go compiles one of its
	// packages: it has all of them in its cache, and only links them.
	linking string
}

// runWith builds the targets and the control plane.
func (b *builder) runWith(ctx context.Context, p *plane) error {
	unlock, err := p.lock(b.report)
	if err != nil {
		return err
	}
	defer unlock()
	if complete(p.dir) { // another process has built it meanwhile
		return b.run(ctx)
	}
	chosen := p.finder.choose(ctx, p.candidates, b.report.Say)
	t, err := p.target(chosen)
	if err != nil {
		return err
	}
	defer p.discard(t)
	b.targets = append(b.targets, t)
	if err := b.prepare(ctx, p); err != nil {
		return err
	}
	if err := b.run(ctx); err != nil {
		return err
	}
	return p.finish(t, chosen)
}

// prepare fails early for what would fail after minutes of compiling.
func (b *builder) prepare(ctx context.Context, p *plane) error {
	names := make([]string, 0, len(b.targets))
	for _, t := range b.targets {
		names = append(names, t.name)
	}
	b.report.Say("  Building from source, which happens once and takes some minutes: %s …", strings.Join(names, ", "))
	places, err := findPlaces(ctx, p.cache)
	if err != nil {
		return err
	}
	if err := checkSpace(places, measureSpace); err != nil {
		return err
	}
	return b.list(ctx)
}

func (b *builder) run(ctx context.Context) error {
	if len(b.targets) == 0 {
		return nil
	}
	for _, t := range b.targets {
		if err := b.build(ctx, t); err != nil {
			return err
		}
	}
	took := time.Since(b.started).Seconds()
	if b.compiled == 0 {
		b.report.Say("✓ The programs are built: nothing had to be compiled (%.1f s)", took)
	} else {
		b.report.Say("✓ The programs are built: %d packages had to be compiled (%.1f s)", b.compiled, took)
	}
	return nil
}

// build runs `go build`, which prints the name of each package as it starts to compile it.
func (b *builder) build(ctx context.Context, t *target) error {
	b.mu.Lock()
	b.linking = t.name
	b.mu.Unlock()
	defer b.progress()()
	args := append([]string{"build", "-v", "-ldflags=-s -w" + t.linkerFlags, "-o", t.output}, t.flags()...)
	_, err := goCommand(ctx, t.dir, append(args, t.packages...), b.saw)
	return err
}

// saw notes a line that Go prints.
func (b *builder) saw(line string) {
	if strings.Contains(line, " ") { // not a package
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.compiled++
	b.linking = ""
	if b.estimate != nil {
		b.estimate.compiling(line, time.Now())
	}
}

func (t *target) flags() []string {
	flags := Flags()
	if len(t.tags) > 0 {
		flags = append(flags, "-tags="+strings.Join(t.tags, ","))
	}
	return flags
}

// list finds out which packages the targets need. Go downloads the modules that are missing.
func (b *builder) list(ctx context.Context) error {
	defer b.progress()()
	var all []listed
	known := map[string]bool{}
	for _, t := range b.targets {
		packages, err := listPackages(ctx, t, func(line string) {
			if strings.HasPrefix(line, "go: downloading ") {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.fetched++
			}
		})
		if err != nil {
			return err
		}
		for _, p := range nameParts(packages, t) {
			if !known[p.path] { // the targets have most packages in common
				known[p.path] = true
				all = append(all, p)
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.estimate = newEstimate(all)
	return nil
}

// progress reports until the function that it returns is called.
func (b *builder) progress() (stop func()) {
	finished := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() {
		tick := time.NewTicker(b.report.interval())
		defer tick.Stop()
		for {
			select {
			case <-finished:
				return
			case now := <-tick.C:
				if line := b.line(now); line != "" {
					b.report.update(now, line)
				}
			}
		}
	})
	return func() {
		close(finished)
		reporting.Wait()
	}
}

// patience is how long a build may take without a word.
const patience = 5 * time.Second

// line says how far the build is, or nothing while there is nothing to say.
func (b *builder) line(now time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.estimate == nil && b.fetched > 0:
		return fmt.Sprintf("  Downloading Go modules: %d so far …", b.fetched)
	case b.linking != "" && now.Sub(b.started) > patience:
		return fmt.Sprintf("  Linking %s …", b.linking)
	case b.estimate == nil && b.compiled > 0:
		return fmt.Sprintf("  Compiling: %d packages so far …", b.compiled)
	case b.estimate == nil || b.compiled == 0:
		return ""
	}
	return b.estimate.status(now).String()
}
