// Package logging makes the log of a process: log/slog, as JSON or text, also
// for the Kubernetes libraries.
package logging

import (
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// Options choose what is logged and how. The zero value logs JSON from level info.
type Options struct {
	format string
	level  slog.Level
}

// AddFlags adds --log-format and --log-level.
func (o *Options) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.format, "log-format", "json", "how logs are written: json or text")
	flags.TextVar(&o.level, "log-level", slog.LevelInfo, "the least level that is logged: DEBUG, INFO, WARN or ERROR")
}

// New makes the logger and hands it to the Kubernetes libraries of this process.
func (o *Options) New(w io.Writer) (*slog.Logger, error) {
	handlerOptions := &slog.HandlerOptions{Level: o.level}
	var handler slog.Handler
	switch o.format {
	case "json", "":
		handler = slog.NewJSONHandler(w, handlerOptions)
	case "text":
		handler = slog.NewTextHandler(w, handlerOptions)
	default:
		return nil, fmt.Errorf("--log-format=%s: must be json or text", o.format)
	}
	logger := logr.FromSlogHandler(handler)
	ctrllog.SetLogger(logger)
	klog.SetLogger(logger.WithName("kubernetes"))
	return slog.New(handler), nil
}
