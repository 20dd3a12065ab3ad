package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout is how long a server may take to say that it is well.
const healthTimeout = 5 * time.Second

func newHealth(root *cobra.Command, o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health [flags] [URL]",
		Short: "ask a running server whether it is well; exit code 0 is yes, 1 no",
		Long: `Ask a running server whether it is well, for health checks of containers. It asks
/readyz of the server at URL, or just the URL where that has a path. Without a URL
it asks the server of this machine that has the same settings: host, port and TLS
come from the same variables, file and flags.`,
		Example: `  curd-server health
  curd-server health http://wheels.example.org:8000`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("one URL at most, not %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := configure(cmd, nil); err != nil {
				return err
			}
			address, err := o.ownAddress()
			if len(args) == 1 {
				address, err = healthURL(args[0])
			}
			if err != nil {
				return err
			}
			return askHealth(cmd.Context(), address, len(args) == 0, cmd.OutOrStdout())
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().AddFlagSet(root.Flags())
	return cmd
}

// healthURL is what to ask where a URL is given.
func healthURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", usageError{errors.New("the URL of a server is http://HOST:PORT or https://HOST")}
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/readyz"
	}
	return u.String(), nil
}

// ownAddress is what to ask of the server with these settings.
func (o *options) ownAddress() (string, error) {
	host := o.host
	switch ip := net.ParseIP(host); { // an image knows no name, not even localhost
	case host == "", ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip.Equal(net.IPv6zero):
		host = "::1"
	}
	if o.port == 0 {
		return "", usageError{errors.New("port 0 is any: name the URL of the server")}
	}
	return o.scheme() + "://" + net.JoinHostPort(host, strconv.Itoa(int(o.port))) + "/readyz", nil
}

// askHealth prints what the server says; the certificate of a server of this
// machine is for other names.
func askHealth(ctx context.Context, address string, own bool, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if own {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	} else {
		transport.Proxy = http.ProxyFromEnvironment
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	said := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server is not well: %s: %.500q", resp.Status, said)
	}
	_, err = fmt.Fprintf(stdout, "%.500s\n", said)
	return err
}
