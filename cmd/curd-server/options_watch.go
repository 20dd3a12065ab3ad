package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"curdling/internal/mirror"
	"curdling/internal/server"
	"curdling/internal/store"
	"curdling/internal/store/s3"
)

// watchOptions are for those who look after a server.
type watchOptions struct {
	logFormat     string
	accessLog     bool
	metricsOpen   bool
	pprof         string // "" is off
	shutdownDelay time.Duration
}

func (o *watchOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.logFormat, "log-format", "text", "`FORM` of the log: text or json")
	flags.BoolVar(&o.accessLog, "access-log", false, "log each request, without the detail of --debug")
	flags.BoolVar(&o.metricsOpen, "metrics-open", false, "let everybody read /metrics, not only those who may read files")
	flags.StringVar(&o.pprof, "pprof", "", "serve profiles and /metrics at `HOST:PORT`, without a password; without HOST for this machine alone")
	flags.DurationVar(&o.shutdownDelay, "shutdown-delay", 0, "when told to stop, go on for this `DURATION` with /readyz answering 503")
}

// logger makes the log.
func (o *watchOptions) logger(w io.Writer, debug bool) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if debug {
		options.Level = slog.LevelDebug
	}
	switch o.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %.40q: the formats are text and json", o.logFormat)}
}

// listenPprof takes the address for profiles; nil where there is none.
func (o *watchOptions) listenPprof(ctx context.Context) (net.Listener, error) {
	if o.pprof == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(o.pprof)
	if err != nil {
		return nil, usageError{fmt.Errorf("--pprof: %w; write HOST:PORT or :PORT", err)}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
}

// servePprof serves profiles and metrics until ctx is done.
func servePprof(ctx context.Context, l net.Listener, metrics http.Handler, log *slog.Logger) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.Handle("GET /metrics", metrics)
	h := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { h.Close() })()
	log.Info("profiles and metrics are served", "at", "http://"+l.Addr().String()+"/debug/pprof/")
	if err := h.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Error("profiles are served no more", "err", err)
	}
}

// checks are what /readyz stands on: what is served, to which uploads go but with --curds, and upstreams.
func checks(dir string, held holding, mirrored *mirror.Mirror) []server.Check {
	all := []server.Check{
		{Name: "store", Ask: func(ctx context.Context) (string, error) {
			if held.bucket != nil {
				return answers(ctx, held.bucket)
			}
			d, err := os.Open(dir)
			if err == nil {
				_, err = d.Readdirnames(1)
				err = errors.Join(ignore(err, io.EOF), d.Close())
			}
			if err != nil {
				return "cannot be read", err
			}
			return "readable", nil
		}},
	}
	if spooler, ok := held.store.(store.Spooler); ok {
		all = append(all, server.Check{Name: "uploads", Ask: func(context.Context) (string, error) { return writable(spooler), nil }})
	}
	if held.hot != nil {
		all = append(all, server.Check{Name: "cache", Ask: func(context.Context) (string, error) {
			state, _ := held.hot.State()
			return state, nil
		}})
	}
	if mirrored != nil {
		for i, upstream := range mirrored.Stats().Upstreams {
			all = append(all, server.Check{Name: "upstream " + upstream.Name, Ask: func(context.Context) (string, error) {
				if mirrored.Stats().Upstreams[i].Up {
					return "answers", nil
				}
				return "does not answer", nil // what is held is served all the same
			}})
		}
	}
	return all
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// answers tells whether a bucket does. Where it does not, what is known and at hand is served all the same.
func answers(ctx context.Context, in *s3.Store) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := in.Ping(ctx); err != nil {
		return "does not answer", nil
	}
	return "answers", nil
}

// writable tells whether uploads can be kept. Where they cannot, files are served all the same.
func writable(held store.Spooler) string {
	f, err := held.Spool()
	if err == nil {
		_, err = f.Write(make([]byte, 1)) // a full disk takes a file, and nothing in it
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	switch {
	case err == nil:
		return "can be kept"
	case store.IsFull(err):
		return "cannot be kept: the disk is full"
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		return "cannot be kept: the folder is read-only"
	}
	return "cannot be kept"
}

// connections are the metrics of a listener.
func connections(l *server.Listener) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "curd_server_connections", Help: "Connections that are open."},
			func() float64 { open, _ := l.Open(); return float64(open) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "curd_server_connections_refused_total", Help: "Connections that were one too many."},
			func() float64 { _, refused := l.Open(); return float64(refused) }),
	}
}
