package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// logFlags say what is logged and where to.
type logFlags struct{ level, file, name string }

func (l *logFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&l.level, "log-level", "l", "", "log at this `LEVEL` and above: debug, info, warn or error")
	flags.StringVar(&l.file, "log-file", "", "append the log to `FILE` rather than print it")
	flags.StringVar(&l.name, "log-name", "", "log only what this part of the program says: `NAME` is index, resolve, build or install")
}

// open makes the logger that the flags ask for; without any it is silent.
func (l *logFlags) open(stderr io.Writer) (*slog.Logger, func() error, error) {
	done := func() error { return nil }
	if l.level == "" && l.file == "" && l.name == "" {
		return slog.New(slog.DiscardHandler), done, nil
	}
	var level slog.Level
	if l.level != "" {
		if err := level.UnmarshalText([]byte(l.level)); err != nil {
			return nil, nil, usageError{fmt.Errorf("-l %s: the levels are debug, info, warn and error", l.level)}
		}
	}
	w := stderr
	if l.file != "" {
		f, err := os.OpenFile(l.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return nil, nil, fmt.Errorf("--log-file: %w", err)
		}
		w, done = f, f.Close
	}
	var h slog.Handler = slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
	if l.name != "" {
		h = &named{Handler: h, name: l.name}
	}
	return slog.New(h), done, nil
}

// named passes on only what a logger of that name (its attribute "logger") says.
type named struct {
	slog.Handler
	name string
	open bool
}

func (n *named) Enabled(ctx context.Context, level slog.Level) bool {
	return n.open && n.Handler.Enabled(ctx, level)
}

func (n *named) WithAttrs(attrs []slog.Attr) slog.Handler {
	open := n.open
	for _, a := range attrs {
		if a.Key == "logger" {
			open = strings.HasPrefix(a.Value.String(), n.name)
		}
	}
	return &named{Handler: n.Handler.WithAttrs(attrs), name: n.name, open: open}
}

func (n *named) WithGroup(name string) slog.Handler {
	return &named{Handler: n.Handler.WithGroup(name), name: n.name, open: n.open}
}
