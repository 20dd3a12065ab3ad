package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"curdling/internal/audit"
	"curdling/internal/catalog"
	"curdling/internal/server"
)

// serve serves until ctx is done and what is in flight then is finished.
func serve(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	log, err := o.logger(stderr, o.debug)
	if err != nil {
		return err
	}
	config, err := o.serverConfig(log)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, config.Audit.Close()) }()
	bound, err := listen(ctx, o)
	if err != nil {
		return err
	}
	defer bound.Close()
	listener := server.Limit(bound, server.Connections{Total: o.maxConnections, PerAddress: o.maxConnectionsPerAddress,
		Exempt: config.Trusts, Silent: config.Certificate != nil})
	profiles, err := o.listenPprof(ctx)
	if err != nil {
		return fmt.Errorf("no profiles: %w", err)
	}

	holding, err := o.hold(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, holding.close()) }()
	if holding.fleet != nil {
		if err := holding.fleet.share(ctx, &config, o.files, log); err != nil {
			return err
		}
	}
	held, err := catalog.Open(ctx, holding.together(catalog.Config{
		Store: holding.store, State: holding.state, Derived: holding.derived(), Log: log,
		MaxSize: int64(o.maxSize), Sweep: o.sweep, VerifyEvery: o.verifyEvery, Tarballs: !o.noTarballs && !o.curds && o.second == "", Removed: noteRemovals(config.Audit, "", log),
	}))
	if err != nil {
		return fmt.Errorf("%s cannot be served: %w", o.directory, err)
	}
	defer func() { err = cmp.Or(err, held.Close()) }()

	config.View = catalog.NewView(held)
	second, err := o.openSecond(ctx, holding, held, log)
	if err != nil {
		return err
	}
	if second != nil {
		defer func() { err = cmp.Or(err, second.close()) }()
		config.View = second.back.View()
	}
	if config.Scopes = o.scopes(config.View, holding, config.Audit, log); config.Scopes != nil {
		defer config.Scopes.Close()
	}

	mirrored, err := o.openMirror(held, holding, log)
	if err != nil {
		return err
	}
	if mirrored != nil {
		defer func() { err = cmp.Or(err, mirrored.Close()) }()
	}

	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	auditLog, certificate := config.Audit, config.Certificate
	watching.Go(func() { heed(ctx, auditLog, certificate, log) })
	watching.Go(func() {
		if err := held.Run(ctx); err != nil {
			log.Error("changes made by hand will not be seen", "err", err)
		}
	})
	if scopes := config.Scopes; scopes != nil {
		watching.Go(func() { scopes.Run(ctx) })
	}
	if second != nil {
		watching.Go(func() { second.run(ctx) })
	}
	// What the start took of memory goes back to the system.
	defer time.AfterFunc(2*time.Second, debug.FreeOSMemory).Stop()
	greet(stdout, o, listener, held)
	config.Catalog, config.Mirror = held, mirrored
	config.Counters, config.Checks = holding.counters(log), checks(o.directory, holding, mirrored)
	if !o.curds { // nothing that is built could be uploaded there
		builds, upkeep := holding.shareBuilds(log)
		watching.Go(func() { upkeep(ctx) })
		if second != nil {
			shared, its := second.share(builds)
			builds = shared
			watching.Go(func() { its(ctx) })
			config.Checks = append(config.Checks, second.check())
		}
		config.Builds = builds
	}
	if holding.fleet != nil {
		watching.Go(func() { holding.fleet.run(ctx, config, log) })
	}
	watching.Go(func() { config.Counters.Keep(ctx) })
	defer config.Counters.Save()
	s := server.New(config)
	s.Register(connections(listener)...)
	if holding.bucket != nil {
		s.Register(holding.bucket.Metrics()...)
		s.Register(holding.hot.Metrics()...)
	}
	if second != nil {
		s.Register(second.metrics()...)
	}
	if profiles != nil {
		watching.Go(func() { servePprof(ctx, profiles, s.Metrics(), log) })
	}
	return s.Serve(ctx, listener)
}

// serverConfig is what the options say of the server, but for what it serves.
func (o *options) serverConfig(log *slog.Logger) (config server.Config, err error) {
	config = server.Config{
		MaxUpload: int64(o.maxUpload), Log: log, Version: version,
		AccessLog: o.accessLog, MetricsOpen: o.metricsOpen, Drain: o.shutdownDelay, ReadOnly: o.curds, Redirect: o.redirect,
	}
	if config.Limits, err = o.limits(); err != nil {
		return config, err
	}
	own := o.directory
	if !isBucket(own) {
		if own, err = o.own(); err != nil {
			return config, err
		}
	}
	if err := o.configure(&config, own, log); err != nil {
		return config, err
	}
	if config.Policy, err = o.policy(own, o.userDB, log); err != nil {
		return config, err
	}
	return config, o.issuers(&config.Policy, log)
}

// heed looks at files anew at SIGHUP, until ctx is done.
func heed(ctx context.Context, auditLog *audit.Log, certificate *server.Certificate, log *slog.Logger) {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangUp:
		}
		if err := auditLog.Reopen(); err != nil {
			log.Error("the audit log cannot be closed", "err", err)
		}
		if certificate != nil {
			certificate.Refresh()
		}
		log.Info("told to look at the audit log and the certificate anew")
	}
}

// greet says what is served, and where.
func greet(stdout io.Writer, o options, l net.Listener, held *catalog.Catalog) {
	what, projects := "1 project", held.Stats().Projects
	switch {
	case held.Far():
		what = "projects as they are asked for"
	case projects != 1:
		what = fmt.Sprintf("%d projects", projects)
	}
	fmt.Fprintf(stdout, "serving %s on %s://%s, %s\n", o.directory, o.scheme(), shown(l), what)
}

// shown is an address that a person can use: one that stands for all
// interfaces is told by what reaches it from here.
func shown(l net.Listener) string {
	if a, ok := l.Addr().(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d (all interfaces)", a.Port)
	}
	return l.Addr().String()
}

// listen takes the port, and explains why it cannot.
func listen(ctx context.Context, o options) (net.Listener, error) {
	address := net.JoinHostPort(o.host, strconv.Itoa(int(o.port)))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	var dns *net.DNSError
	hint := ""
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "; something listens there already: stop it, or choose another port with -p (-p 0 takes a free one)"
	case errors.Is(err, fs.ErrPermission):
		hint = "; ports below 1024 are not for every user: choose another with -p"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &dns):
		hint = "; this machine has no such address: -H 0.0.0.0 takes all it has, -H 127.0.0.1 this machine alone"
	}
	return nil, fmt.Errorf("cannot listen on %s: %w%s", address, err, hint)
}
