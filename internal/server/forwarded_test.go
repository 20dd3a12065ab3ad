package server

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func trusting(prefixes ...string) *proxies {
	p := &proxies{log: quiet}
	for _, s := range prefixes {
		p.trusted = append(p.trusted, netip.MustParsePrefix(s))
	}
	return p
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	const peer = "10.0.0.1"
	for name, test := range map[string]struct {
		headers []string
		want    string // address proto host
	}{
		"nothing":                    {nil, "10.0.0.1  "},
		"one hop":                    {[]string{"X-Forwarded-For", "192.0.2.1"}, "192.0.2.1  "},
		"a client that lies":         {[]string{"X-Forwarded-For", "10.0.0.5, 203.0.113.1, 192.0.2.1"}, "192.0.2.1  "},
		"two proxies":                {[]string{"X-Forwarded-For", "192.0.2.1, 10.0.0.2"}, "192.0.2.1  "},
		"two headers":                {[]string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "10.0.0.2"}, "192.0.2.1  "},
		"proxies alone":              {[]string{"X-Forwarded-For", "10.0.0.3, 10.0.0.2"}, "10.0.0.3  "},
		"nonsense":                   {[]string{"X-Forwarded-For", "192.0.2.1, what, 10.0.0.2"}, "10.0.0.2  "},
		"empty":                      {[]string{"X-Forwarded-For", ""}, "10.0.0.1  "},
		"IPv6 and ports":             {[]string{"X-Forwarded-For", "[2001:db8::1]:4711"}, "2001:db8::1  "},
		"IPv4 and ports":             {[]string{"X-Forwarded-For", "192.0.2.1:80"}, "192.0.2.1  "},
		"IPv4 within IPv6":           {[]string{"X-Forwarded-For", "192.0.2.1, ::ffff:10.0.0.2"}, "192.0.2.1  "},
		"scheme and host":            {[]string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "HTTPS", "X-Forwarded-Host", "a.example:8443"}, "192.0.2.1 https a.example:8443"},
		"scheme alone":               {[]string{"X-Forwarded-Proto", "https"}, "10.0.0.1 https "},
		"schemes for each hop":       {[]string{"X-Forwarded-For", "192.0.2.1, 10.0.0.2", "X-Forwarded-Proto", "https, http"}, "192.0.2.1 https "},
		"a scheme that lies":         {[]string{"X-Forwarded-For", "203.0.113.1, 192.0.2.1", "X-Forwarded-Proto", "https, http"}, "192.0.2.1 http "},
		"a bad scheme":               {[]string{"X-Forwarded-Proto", "javascript"}, "10.0.0.1  "},
		"a bad host":                 {[]string{"X-Forwarded-Host", "a/b"}, "10.0.0.1  "},
		"a host with a user":         {[]string{"X-Forwarded-Host", "a@b"}, "10.0.0.1  "},
		"standard":                   {[]string{"Forwarded", `for=192.0.2.1;proto=https;host=a.example`}, "192.0.2.1 https a.example"},
		"standard, quoted":           {[]string{"Forwarded", `For="[2001:db8::1]:4711" ; Proto="ht\tps";by=_x`}, "2001:db8::1 https "},
		"standard, comma in quotes":  {[]string{"Forwarded", `for=203.0.113.1;x="a,b;c\"", for=192.0.2.1`}, "192.0.2.1  "},
		"standard, two proxies":      {[]string{"Forwarded", `for=192.0.2.1;host=a, for=10.0.0.2;host=b`}, "192.0.2.1  a"},
		"standard, unknown":          {[]string{"Forwarded", `for=192.0.2.1, for=unknown;proto=https`}, "10.0.0.1 https "},
		"standard, hidden":           {[]string{"Forwarded", `for=_gazonk`}, "10.0.0.1  "},
		"standard, malformed":        {[]string{"Forwarded", `for="192.0.2.1`}, "10.0.0.1  "},
		"standard, malformed inside": {[]string{"Forwarded", `for=192.0.2.1;proto`}, "10.0.0.1  "},
		"both, of one client":        {[]string{"Forwarded", `for=192.0.2.1;proto=https`, "X-Forwarded-For", "192.0.2.1"}, "192.0.2.1 https "},
		"both, of two":               {[]string{"Forwarded", `for=192.0.2.1;host=evil`, "X-Forwarded-For", "192.0.2.9"}, "10.0.0.1  "},
	} {
		h := make(http.Header)
		for i := 0; i < len(test.headers); i += 2 {
			h.Add(test.headers[i], test.headers[i+1])
		}
		c := trusting("10.0.0.0/8").client(h, netip.MustParseAddr(peer))
		if got := c.address.String() + " " + c.proto + " " + c.host; strings.TrimSpace(got) != strings.TrimSpace(test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// FuzzForwarded: whatever the headers say, the client is a proxy or was named by
// one, and scheme and host can stand in a link.
func FuzzForwarded(f *testing.F) {
	f.Add(`for=192.0.2.1;proto=https;host="a.example:80", for="[2001:db8::1]:4711"`, "192.0.2.1, 10.0.0.2", "https", "a.example")
	f.Add(`for="_hidden\"", for=unknown`, "[::1]:80,::1,1.2.3.4:5", "http,https", "[::1]:80")
	f.Add(`;;,,="`, ",,", ",", ",")
	f.Fuzz(func(t *testing.T, forwarded, xFor, xProto, xHost string) {
		p, peer := trusting("10.0.0.0/8", "::1/128"), netip.MustParseAddr("10.0.0.1")
		h := http.Header{"Forwarded": {forwarded}, "X-Forwarded-For": {xFor}, "X-Forwarded-Proto": {xProto}, "X-Forwarded-Host": {xHost}}
		c := p.client(h, peer)
		if !c.address.IsValid() || c.address.Zone() != "" || c.address.Is4In6() {
			t.Errorf("address %v", c.address)
		}
		if c.proto != "" && c.proto != "http" && c.proto != "https" {
			t.Errorf("proto %q", c.proto)
		}
		if strings.ContainsAny(c.host, "/@<>\"' \\?#%") || len(c.host) > 255 {
			t.Errorf("host %q", c.host)
		}
		// What comes before an untrusted hop changes nothing.
		h.Set("X-Forwarded-For", xFor+", 192.0.2.1")
		h.Del("Forwarded")
		if c := p.client(h, peer); c.address != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("%q went past the last hop: %v", xFor, c.address)
		}
		if strings.Count(forwarded, `"`) == 0 {
			h = http.Header{"Forwarded": {forwarded, "for=192.0.2.1"}}
			if c := p.client(h, peer); c.address != netip.MustParseAddr("192.0.2.1") {
				t.Errorf("%q went past the last hop: %v", forwarded, c.address)
			}
		}
	})
}
