package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"

	"curdling/internal/livefile"
)

// Certificate is a certificate with its key, from two PEM files, which are read
// again when they change: new connections get the new one.
type Certificate struct {
	file *livefile.File[tls.Certificate]
}

// OpenCertificate reads a certificate, with those that lead to its issuer behind
// it, and its key. When they change later and cannot be read then, or do not fit
// together, log is told and the old one stays.
func OpenCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	file, err := livefile.Open(log, "the TLS certificate", func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate %s and key %s: %w", certFile, keyFile, err)
		}
		return &c, nil
	}, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &Certificate{file}, nil
}

// Refresh looks at the files at once, and not only with the next connection.
func (c *Certificate) Refresh() { c.file.Refresh() }

func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.file.Get(), nil },
	}
}
