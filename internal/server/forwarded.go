package server

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
)

const maxHops = 32

// proxies tells who a client is where requests come through proxies. The
// headers Forwarded (RFC 7239) and X-Forwarded-For, -Proto and -Host are
// believed as far as trusted proxies wrote them: from the last hop back to the first
// that is not trusted, which is the client.
type proxies struct {
	trusted []netip.Prefix
	log     *slog.Logger
	warned  sync.Once
}

// client is what trusted proxies say of a request. Zero fields are not said.
type client struct {
	address netip.Addr
	proto   string // http or https
	host    string
}

// trusts tells whether a proxy is believed.
func (p *proxies) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, prefix := range p.trusted {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// apply gives the request as its client sent it. What is not believed is left as it is.
func (p *proxies) apply(r *http.Request) *http.Request {
	peer := remoteAddr(r)
	if !p.trusts(peer) {
		return r
	}
	c := p.client(r.Header, peer)
	if c.address == peer && c.proto == "" && c.host == "" {
		return r
	}
	told := new(http.Request)
	*told = *r
	if c.address != peer {
		told.RemoteAddr = net.JoinHostPort(c.address.String(), "0")
	}
	if c.host != "" {
		told.Host = c.host
	}
	if c.proto != "" {
		told.URL = new(url.URL)
		*told.URL = *r.URL
		told.URL.Scheme = c.proto
	}
	return told
}

// client reads what the headers say. Where Forwarded and X-Forwarded-For are of
// two clients, one of them was sent by the client itself and passed on by a proxy
// that does not know it; which one cannot be told, and neither is believed.
func (p *proxies) client(h http.Header, peer netip.Addr) client {
	standard, x := parseForwarded(h.Values("Forwarded")), parseXForwarded(h)
	if len(standard) == 0 || len(x) == 0 {
		return p.walk(append(standard, x...), peer)
	}
	a, b := p.walk(standard, peer), p.walk(x, peer)
	if a.address != b.address {
		p.warned.Do(func() {
			p.log.Warn("a proxy sends Forwarded and X-Forwarded-For, and they are of different clients: neither is believed; have the proxy remove the one that it does not write", "proxy", peer)
		})
		return client{address: peer}
	}
	return a
}

// walk goes from the last hop, which peer wrote, to the first that is not trusted.
func (p *proxies) walk(hops []hop, peer netip.Addr) client {
	c := client{address: peer}
	for i := len(hops) - 1; i >= 0 && i >= len(hops)-maxHops && p.trusts(c.address); i-- {
		c.proto, c.host = hops[i].proto, hops[i].host
		if !hops[i].node.IsValid() {
			return c // unknown, hidden or nonsense: the proxy that says so is the last known
		}
		c.address = hops[i].node
	}
	return c
}

// hop is what one proxy says of who spoke to it.
type hop struct {
	node        netip.Addr
	proto, host string
}

// parseForwarded reads the header's elements (RFC 7239, section 4). One that is
// malformed is a hop of which nothing is known.
func parseForwarded(values []string) []hop {
	var hops []hop
	for _, element := range splitQuoted(strings.Join(values, ","), ',') {
		var h hop
		for _, pair := range splitQuoted(element, ';') {
			name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
			value, whole := unquote(value)
			if !ok || !whole {
				h = hop{}
				break
			}
			switch strings.ToLower(name) {
			case "for":
				h.node = parseNode(value)
			case "proto":
				h.proto = parseProto(value)
			case "host":
				h.host = parseHost(value)
			}
		}
		hops = append(hops, h)
	}
	return hops
}

// parseXForwarded reads X-Forwarded-For, and beside it -Proto and -Host: the value
// of the same hop where there are as many, else the last.
func parseXForwarded(h http.Header) []hop {
	nodes := list(h, "X-Forwarded-For")
	protos, hosts := list(h, "X-Forwarded-Proto"), list(h, "X-Forwarded-Host")
	if len(nodes) == 0 && len(protos)+len(hosts) > 0 {
		nodes = []string{""}
	}
	at := func(values []string, i int) string {
		switch {
		case len(values) == 0:
			return ""
		case len(values) == len(nodes):
			return values[i]
		}
		return values[len(values)-1]
	}
	hops := make([]hop, len(nodes))
	for i, node := range nodes {
		hops[i] = hop{parseNode(node), parseProto(at(protos, i)), parseHost(at(hosts, i))}
	}
	return hops
}

func list(h http.Header, name string) []string {
	values := h.Values(name)
	if len(values) == 0 {
		return nil
	}
	items := strings.Split(strings.Join(values, ","), ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// splitQuoted splits at a separator that does not stand within quotes. Nothing at all has no parts.
func splitQuoted(s string, separator byte) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == separator && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// unquote reads a token or a quoted string (RFC 9110, 5.6.4).
func unquote(s string) (value string, ok bool) {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, `"`) {
		return s, !strings.ContainsAny(s, "\"\\ \t")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i == len(s)-1
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", false
}

// parseNode reads an address with or without a port: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1], [2001:db8::1]:80. What is none is the zero Addr.
func parseNode(s string) netip.Addr {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone("")
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, port, _ := strings.Cut(inner, "]")
		if a, err := netip.ParseAddr(inner); err == nil && (port == "" || port[0] == ':') {
			return a.Unmap().WithZone("")
		}
		return netip.Addr{}
	}
	if host, _, ok := strings.Cut(s, ":"); ok { // a hidden port is allowed, too
		if a, err := netip.ParseAddr(host); err == nil {
			return a
		}
	}
	return netip.Addr{}
}

func parseProto(s string) string {
	if s = strings.ToLower(s); s == "http" || s == "https" {
		return s
	}
	return ""
}

// parseHost takes a host with or without a port that can stand in a link.
func parseHost(s string) string {
	if s == "" || len(s) > 255 {
		return ""
	}
	if u, err := url.Parse("http://" + s); err != nil || u.Host != s || u.Hostname() == "" {
		return ""
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte(".-_:[]", c) < 0 {
			return ""
		}
	}
	return s
}

// remoteAddr is the address that a request came from, as far as it is known.
func remoteAddr(r *http.Request) netip.Addr {
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return a.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
