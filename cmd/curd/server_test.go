package main

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/lease"
	"curdling/internal/server"
	"curdling/internal/store/bucket"
	"curdling/internal/store/disk"
	"curdling/internal/store/storetest"
)

// fatal is what testing.T and testscript.TestScript have in common.
type fatal interface {
	Fatalf(format string, args ...any)
}

// catalogs are those of the servers that run, by folder.
var catalogs sync.Map

// shown waits until a file that was put into a folder shows on the server of that folder, if there is one.
func shown(t fatal, path string) {
	held, ok := catalogs.Load(filepath.Dir(path))
	for start := time.Now(); ok && held.(*catalog.Catalog).File(filepath.Base(path)) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("%s does not show on its server", path)
		}
	}
}

// newServer makes a curd-server on a folder; accounts are USER:PASSWORD, none let everybody in. Who
// builds for others and is silent for ttl loses his lease; 0 is the default.
func newServer(t fatal, dir string, accounts []string, ttl time.Duration) (h http.Handler, stop func()) {
	check := func(err error) {
		if err != nil {
			t.Fatalf("starting a server on %s: %v", dir, err)
		}
	}
	store, err := disk.Open(dir)
	check(err)
	held, err := catalog.Open(context.Background(), catalog.Config{Store: store, State: filepath.Join(dir, disk.StateDir)})
	check(err)
	var policy auth.Policy
	if len(accounts) > 0 {
		db := filepath.Join(dir, disk.StateDir, "users")
		var lines strings.Builder
		for _, account := range accounts {
			user, password, _ := strings.Cut(account, ":")
			sum := sha1.Sum([]byte(password))
			fmt.Fprintf(&lines, "%s:{SHA}%s\n", user, base64.StdEncoding.EncodeToString(sum[:]))
		}
		check(os.WriteFile(db, []byte(lines.String()), 0o600))
		policy.Users, err = auth.OpenUsers(db, nil)
		check(err)
	}
	catalogs.Store(dir, held)
	unfollow := follow(held)
	builds := server.Builds{
		Leases:   lease.New(lease.NewFolder(filepath.Join(dir, disk.StateDir, "leases")), lease.Options{TTL: ttl}),
		Prepared: lease.NewFolder(filepath.Join(dir, disk.StateDir, "prepared")),
	}
	return server.New(server.Config{Catalog: held, Policy: policy, Builds: builds}), func() {
		catalogs.Delete(dir)
		unfollow()
		store.Close()
	}
}

// newBucketServer makes a curd-server over a bucket that others may serve, too.
func newBucketServer(t fatal, raw *storetest.Memory) (h http.Handler, stop func()) {
	held, err := catalog.Open(context.Background(), catalog.Config{Store: bucket.New(raw, bucket.Options{}), Derived: raw})
	if err != nil {
		t.Fatalf("starting a server on a bucket: %v", err)
	}
	builds := server.Builds{
		Leases: lease.New(lease.NewStored(raw, "leases/"), lease.Options{}), Prepared: lease.NewStored(raw, "prepared/"),
	}
	return server.New(server.Config{Catalog: held, Builds: builds}), func() { held.Close() }
}

// newTarballServer makes a curd-server on a folder, which has the tarballs of all wheels there.
func newTarballServer(t fatal, dir string) (h http.Handler, stop func()) {
	store, err := disk.Open(dir)
	if err != nil {
		t.Fatalf("starting a server on %s: %v", dir, err)
	}
	held, err := catalog.Open(context.Background(), catalog.Config{
		Store: store, State: filepath.Join(dir, disk.StateDir), Tarballs: true, Patience: time.Minute,
	})
	if err != nil {
		t.Fatalf("starting a server on %s: %v", dir, err)
	}
	catalogs.Store(dir, held)
	unfollow := follow(held)
	names, _ := held.Names()
	for _, name := range names {
		for _, f := range held.Project(name).Files {
			for begun := time.Now(); f.Kind == dist.Wheel && held.File(f.Filename).Tarball.SHA256 == ""; time.Sleep(10 * time.Millisecond) {
				if time.Since(begun) > time.Minute {
					t.Fatalf("%s has no tarball", f.Filename)
				}
			}
		}
	}
	return server.New(server.Config{Catalog: held}), func() {
		catalogs.Delete(dir)
		unfollow()
		store.Close()
	}
}

// newPeer makes what curd-server --curds is on a machine's own cache.
func newPeer(t fatal, dir string) (h http.Handler, stop func()) {
	own, err := curds.Open(dir)
	if err != nil {
		t.Fatalf("%v", err)
	}
	held, err := catalog.Open(context.Background(), catalog.Config{Store: own.Shared(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatalf("serving %s: %v", dir, err)
	}
	return server.New(server.Config{Catalog: held, ReadOnly: true}), follow(held)
}

// follow has a catalog see what changes, until stop is called, which closes it.
func follow(held *catalog.Catalog) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		held.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
		held.Close()
	}
}
