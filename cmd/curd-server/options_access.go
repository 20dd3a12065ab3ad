package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"curdling/internal/audit"
	"curdling/internal/auth"
	"curdling/internal/server"
)

// auditFile lies in the folder that is served; hidden names are not.
const auditFile = ".audit.jsonl"

// accessOptions say who may do what, and how he reaches the server.
type accessOptions struct {
	uploaders      []string // nil: all users
	readers        []string // nil: all users
	anonymousRead  bool
	files          accessFiles
	tlsCert        string // "" is plain HTTP
	tlsKey         string
	trustedProxies []string
	pathPrefix     string
}

// accessFiles are what commands beside the server use, too.
type accessFiles struct {
	tokens string // "" is DIRECTORY/.tokens.json, or what all servers over the bucket have
	audit  string // "" is DIRECTORY/.audit.jsonl, or nothing but what all servers over the bucket have
}

func (o *accessOptions) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.uploaders, "uploaders", nil, "who may upload, and read: `USER,...`, or @FILE with a name on each line")
	flags.StringSliceVar(&o.readers, "readers", nil, "who may only read: `USER,...`, or @FILE with a name on each line")
	flags.BoolVar(&o.anonymousRead, "anonymous-read", false, "let everybody read; uploads need a user or a token")
	o.files.add(flags)
	flags.StringVar(&o.tlsCert, "tls-cert", "", "PEM `FILE` of the certificate and its chain: speak https; read again when it changes")
	flags.StringVar(&o.tlsKey, "tls-key", "", "PEM `FILE` of the certificate's key")
	flags.StringSliceVar(&o.trustedProxies, "trusted-proxy", nil, "address or network `CIDR` of a proxy that is believed in Forwarded and X-Forwarded-For, -Proto, -Host (repeatable)")
	flags.StringVar(&o.pathPrefix, "path-prefix", "", "`PATH` under which a proxy shows this server, like /pypi: links begin with it")
}

func (f *accessFiles) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.tokens, "token-db", "", "`FILE` of the tokens (default DIRECTORY/"+auth.TokensFile+"; over s3://BUCKET "+auth.TokensKey+" in it, for all servers)")
	f.addAudit(flags)
}

func (f *accessFiles) addAudit(flags *pflag.FlagSet) {
	flags.StringVar(&f.audit, "audit-log", "", "`FILE` that each change is noted in, as JSON lines (default DIRECTORY/"+auditFile+"; over s3://BUCKET objects below audit/ in it, and FILE besides)")
}

func (f *accessFiles) tokensPath(directory string) string {
	return cmp.Or(f.tokens, filepath.Join(directory, auth.TokensFile))
}

// auditLog is the audit log. Over a bucket it is to be shared.
func (f *accessFiles) auditLog(directory string) *audit.Log {
	if isBucket(directory) {
		return audit.New(f.audit)
	}
	return audit.New(cmp.Or(f.audit, filepath.Join(directory, auditFile)))
}

// check finds what is wrong with the command line.
func (o *accessOptions) check() error {
	switch {
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return usageError{errors.New("--tls-cert and --tls-key are needed together")}
	case o.anonymousRead && o.readers != nil:
		return usageError{errors.New("--anonymous-read lets everybody read: leave out --readers, or it")}
	}
	if _, err := o.proxies(); err != nil {
		return usageError{err}
	}
	if err := server.CheckPathPrefix(o.pathPrefix); err != nil {
		return usageError{err}
	}
	return nil
}

// policy opens the files that say who may do what.
func (o *accessOptions) policy(directory, userDB string, log *slog.Logger) (policy auth.Policy, err error) {
	policy.AnonymousRead = o.anonymousRead
	if userDB != "" {
		if policy.Users, err = auth.OpenUsers(userDB, log); err != nil {
			return policy, fmt.Errorf("the user database cannot be used: %w", err)
		}
	}
	if isBucket(directory) && o.files.tokens == "" {
		policy.Tokens = nil // they are known when the bucket is open
	} else if policy.Tokens, err = auth.OpenTokens(o.files.tokensPath(directory), o.files.tokens != "", log); err != nil {
		return policy, fmt.Errorf("the tokens cannot be used: %w", err)
	}
	for _, list := range []struct {
		flag  string
		items []string
		names **auth.Names
	}{{"--uploaders", o.uploaders, &policy.Uploaders}, {"--readers", o.readers, &policy.Readers}} {
		if list.items == nil {
			continue
		}
		if *list.names, err = auth.OpenNames(list.items, log); err != nil {
			return policy, fmt.Errorf("%s: %w", list.flag, err)
		}
		for _, name := range (*list.names).All() {
			if policy.Users != nil && !policy.Users.Has(name) {
				log.Warn("a user has no password in the user database; tokens will do", "option", list.flag, "user", name)
			}
		}
	}
	return policy, nil
}

// configure sets what these options say of a server.
func (o *accessOptions) configure(c *server.Config, directory string, log *slog.Logger) (err error) {
	c.Audit, c.PathPrefix = o.files.auditLog(directory), o.pathPrefix
	if c.TrustedProxies, err = o.proxies(); err != nil {
		return err
	}
	if o.tlsCert != "" {
		if c.Certificate, err = server.OpenCertificate(o.tlsCert, o.tlsKey, log); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
	}
	return nil
}

func (o *accessOptions) proxies() ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, s := range o.trustedProxies {
		prefix, err := netip.ParsePrefix(s)
		if address, notPrefix := netip.ParseAddr(s); notPrefix == nil {
			prefix, err = address.WithZone("").Prefix(address.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("--trusted-proxy %q: write an address or a network, like 10.0.0.7 or 10.0.0.0/8", strings.TrimSpace(s))
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

// scheme is that of the server's address.
func (o *accessOptions) scheme() string {
	if o.tlsCert != "" {
		return "https"
	}
	return "http"
}
