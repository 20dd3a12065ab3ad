//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

const (
	bucketName = "curdling"
	prefixName = "fleet"
	accessKey  = "tester"
	secretKey  = "secret-of-tests"
)

// storage is where the servers keep what they hold: a bucket of a real S3 server behind a proxy, or a folder.
type storage struct {
	dir     string
	gateway *process // nil: a folder
	direct  string   // URL of the S3 server
	proxy   *proxy
}

// newStorage starts the S3 server, or makes the folder.
func newStorage(ctx context.Context, o *options, dir string) (*storage, error) {
	s := &storage{dir: dir}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o777); err != nil || o.folder {
		return s, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.direct = "http://" + address
	s.gateway = &process{name: "gateway", dir: dir, command: []string{o.gateway, "--port", address, "--keep-alive", "--quiet", "posix", data},
		env: []string{"ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey}}
	if err := s.gateway.start(); err != nil {
		return nil, fmt.Errorf("%w; make %s builds it", err, o.gateway)
	}
	if err := s.gateway.answers(ctx, s.direct+"/"); err != nil {
		return nil, err
	}
	client, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: "us-east-1"})
	if err != nil {
		return nil, err
	}
	if err := client.MakeBucket(ctx, bucketName, minio.MakeBucketOptions{}); err != nil {
		return nil, err
	}
	s.proxy, err = newProxy(address, o.seed)
	return s, err
}

func (s *storage) close() {
	if s.proxy != nil {
		s.proxy.close()
	}
	if s.gateway != nil {
		_ = s.gateway.signal(syscall.SIGCONT)
		s.gateway.end(syscall.SIGTERM)
	}
}

// fleet is some servers over a storage, and a load balancer before them.
type fleet struct {
	servers  []*process
	urls     []string
	balancer *balancer
}

// serverOptions say how a server is started.
type serverOptions struct {
	program  string
	endpoint string // URL of the S3 server, or of the proxy before it
	cache    string // folder of its cache; "" is one of its own
	drain    time.Duration
}

// newServer gives a server that is not started yet. What it keeps for itself lies in dir, which is made.
func (s *storage) newServer(o *options, dir string, so serverOptions) (p *process, url string, err error) {
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	if so.cache == "" {
		so.cache = filepath.Join(dir, "cache")
	}
	if err := errors.Join(os.MkdirAll(so.cache, 0o777), os.MkdirAll(filepath.Join(dir, "tmp"), 0o777)); err != nil {
		return nil, "", err
	}
	host, port, _ := strings.Cut(address, ":")
	command := []string{so.program, "-H", host, "-p", port, "--shutdown-delay", so.drain.String()}
	if s.gateway == nil {
		command = append(command, filepath.Join(s.dir, "data"))
	} else {
		command = append(command, "--s3-endpoint", so.endpoint, "--cache-dir", so.cache)
		if o.redirect {
			command = append(command, "--redirect")
		}
		command = append(command, "s3://"+bucketName+"/"+prefixName)
	}
	p = &process{name: "server", dir: dir, command: command, env: []string{
		"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey, "AWS_REGION=us-east-1",
		"HOME=" + dir, "TMPDIR=" + filepath.Join(dir, "tmp"), "XDG_CACHE_HOME=",
	}}
	return p, "http://" + address, nil
}

// start starts n servers; edit may change the options of each.
func (s *storage) start(ctx context.Context, o *options, dir string, n int, edit func(i int, so *serverOptions) error) (*fleet, error) {
	f := &fleet{}
	var addresses []string
	for i := range n {
		so := serverOptions{program: o.server}
		if s.proxy != nil {
			so.endpoint = s.proxy.url()
		}
		if edit != nil {
			if err := edit(i, &so); err != nil {
				return nil, err
			}
		}
		p, url, err := s.newServer(o, filepath.Join(dir, fmt.Sprintf("server-%d", i)), so)
		if err != nil {
			return nil, err
		}
		f.servers, f.urls = append(f.servers, p), append(f.urls, url)
		addresses = append(addresses, strings.TrimPrefix(url, "http://"))
	}
	for i, p := range f.servers {
		if err := p.start(); err != nil {
			return nil, errors.Join(err, f.stop())
		}
		if err := p.answers(ctx, f.urls[i]+"/healthz"); err != nil {
			return nil, errors.Join(err, f.stop())
		}
	}
	var err error
	f.balancer, err = newBalancer(addresses)
	return f, err
}

// stop stops all servers. The error tells of those that ended by themselves.
func (f *fleet) stop() (err error) {
	if f.balancer != nil {
		f.balancer.close()
	}
	for _, p := range f.servers {
		if p.cmd == nil {
			continue
		}
		p.end(syscall.SIGTERM)
		if p.crashes > 0 {
			err = errors.Join(err, fmt.Errorf("a server ended by itself, %d times: %s", p.crashes, p.last()))
		}
	}
	return err
}

// cost is the processor time that all servers took so far, and the most memory of one in bytes.
func (f *fleet) cost() (used time.Duration, peak int64) {
	for _, p := range f.servers {
		u, m := p.cost()
		used, peak = used+u, max(peak, m)
	}
	return used, peak
}

// fill uploads the world.
func (f *fleet) fill(ctx context.Context, w *world, held *ledger) error {
	var apart stats
	c := newClient(f.balancer.url(), &apart)
	defer c.close()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range w.projects {
		for v := range w.versions {
			g.Go(func() error {
				wheel := w.wheel(i, fmt.Sprintf("1.%d", v), "")
				if _, err := c.ask(ctx, putFile(&wheel)); err != nil {
					return err
				}
				held.add(w.projects[i].name, &wheel)
				return nil
			})
		}
	}
	return g.Wait()
}
