package logging_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/internal/logging"
)

// processLog is what the first logger of the process writes. controller-runtime
// takes that one for good.
var processLog bytes.Buffer

func TestMain(m *testing.M) {
	if _, err := (&logging.Options{}).New(&processLog); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// newLogger makes a logger from flags as a program gets them.
func newLogger(t *testing.T, args ...string) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	var options logging.Options
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	options.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	logger, err := options.New(&out)
	if err != nil {
		t.Fatal(err)
	}
	return logger, &out
}

func decodeLine(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("not one line of JSON: %v: %q", err, out.String())
	}
	return line
}

func TestJSON(t *testing.T) {
	for name, args := range map[string][]string{"by default": nil, "asked for": {"--log-format=json"}} {
		t.Run(name, func(t *testing.T) {
			logger, out := newLogger(t, args...)
			logger.Info("token issued", "tenant", "acme", "text", "a\nb")
			line := decodeLine(t, out)
			if line["msg"] != "token issued" || line["level"] != "INFO" || line["tenant"] != "acme" || line["text"] != "a\nb" || line["time"] == nil {
				t.Errorf("line = %v", line)
			}
			if strings.Count(out.String(), "\n") != 1 {
				t.Errorf("more than a line: %q", out.String())
			}
		})
	}
}

func TestZeroOptionsLogJSON(t *testing.T) {
	var out bytes.Buffer
	logger, err := (&logging.Options{}).New(&out)
	if err != nil {
		t.Fatal(err)
	}
	logger.Info("hello")
	if line := decodeLine(t, &out); line["msg"] != "hello" {
		t.Errorf("line = %v", line)
	}
}

func TestText(t *testing.T) {
	logger, out := newLogger(t, "--log-format=text")
	logger.Info("token issued", "tenant", "acme", "text", "a\nb")
	if want := `level=INFO msg="token issued" tenant=acme text="a\nb"` + "\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("line = %q, want it to end with %q", out.String(), want)
	}
}

func TestLevels(t *testing.T) {
	cases := map[string][]string{
		"":                  {"INFO", "WARN", "ERROR"},
		"--log-level=DEBUG": {"DEBUG", "INFO", "WARN", "ERROR"},
		"--log-level=debug": {"DEBUG", "INFO", "WARN", "ERROR"},
		"--log-level=INFO":  {"INFO", "WARN", "ERROR"},
		"--log-level=WARN":  {"WARN", "ERROR"},
		"--log-level=ERROR": {"ERROR"},
	}
	for arg, want := range cases {
		t.Run(arg, func(t *testing.T) {
			args := []string{"--log-format=text"}
			if arg != "" {
				args = append(args, arg)
			}
			logger, out := newLogger(t, args...)
			for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				logger.Log(t.Context(), level, "line")
			}
			var got []string
			for line := range strings.Lines(out.String()) {
				_, level, _ := strings.Cut(line, "level=")
				level, _, _ = strings.Cut(level, " ")
				got = append(got, level)
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("levels = %v, want %v", got, want)
			}
		})
	}
}

func TestBadFlags(t *testing.T) {
	parse := func(arg string) (*logging.Options, error) {
		var options logging.Options
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		options.AddFlags(flags)
		return &options, flags.Parse([]string{arg})
	}
	if _, err := parse("--log-level=LOUD"); err == nil || !strings.Contains(err.Error(), "log-level") {
		t.Errorf("level: err = %v, want one that names the flag", err)
	}
	for _, format := range []string{"xml", "JSON", " text"} {
		options, err := parse("--log-format=" + format)
		if err != nil {
			t.Fatal(err)
		}
		logger, err := options.New(io.Discard)
		if err == nil || logger != nil || err.Error() != "--log-format="+format+": must be json or text" {
			t.Errorf("format %q: err = %v", format, err)
		}
	}
}

// What Kubernetes' libraries log through klog goes the same way.
func TestKlog(t *testing.T) {
	t.Cleanup(klog.ClearLogger)
	_, out := newLogger(t)
	klog.ErrorS(os.ErrNotExist, "reflector failed", "kind", "Secret")
	line := decodeLine(t, out)
	if line["msg"] != "reflector failed" || line["level"] != "ERROR" || line["kind"] != "Secret" || line["err"] != os.ErrNotExist.Error() {
		t.Errorf("line = %v", line)
	}
	if line["logger"] != "kubernetes" {
		t.Errorf("the line does not tell whose it is: %v", line)
	}
}

// So does what controller-runtime logs.
func TestControllerRuntime(t *testing.T) {
	processLog.Reset()
	ctrllog.Log.WithName("manager").Info("starting", "controllers", 3)
	if line := decodeLine(t, &processLog); line["msg"] != "starting" || line["controllers"] != 3.0 || line["logger"] != "manager" {
		t.Errorf("line = %v", line)
	}
}
