package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curdling/internal/livefile"
	"curdling/internal/store"
	"curdling/internal/store/storetest"
)

func TestTokenForm(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^curd_[0-9A-Za-z]{57}$`)
	seen := make(map[string]bool)
	for range 100 {
		id := randomDigits(idDigits)
		token := newToken(id)
		got, ok := parseToken(token)
		if !ok || got != id || !form.MatchString(token) || seen[token] {
			t.Fatalf("%s: %q, %v", token, got, ok)
		}
		seen[token] = true
		for i := range token {
			for _, c := range "0aZ_" {
				other := token[:i] + string(c) + token[i+1:]
				if _, ok := parseToken(other); ok && other != token {
					t.Fatalf("%s is as good as %s", other, token)
				}
			}
		}
	}
	for _, s := range []string{"", "curd_", strings.Repeat("é", tokenLength/2), "curd_" + strings.Repeat("0", 57)} {
		if _, ok := parseToken(s); ok {
			t.Errorf("%q is a token", s)
		}
	}
}

func TestTokenLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), ".tokens.json")
		log := new(strings.Builder)
		tokens, err := OpenTokens(path, false, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		g := NewGate(Policy{Tokens: tokens})
		try := func(when, header string, action Action, want string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			_, err := g.Authorize(header, here, action)
			if got := fmt.Sprint(err); !strings.Contains(got, want) {
				t.Errorf("%s: %v, want %q", when, err, want)
			}
		}
		create := func(token Token) (string, Token) {
			t.Helper()
			secret, created, err := CreateToken(t.Context(), livefile.Path(path), token)
			if err != nil {
				t.Fatal(err)
			}
			return "Bearer " + secret, created
		}
		try("before there are tokens", "", Upload, "<nil>")
		first, one := create(Token{User: "ci", Scope: ScopeUpload, Expires: time.Now().Add(time.Hour)})
		try("the first closes", "", Read, ErrUnauthenticated.Error())
		try("and lets in", first, Upload, "<nil>")
		second, two := create(Token{User: "ci", Scope: ScopeRead})
		try("the second reads", second, Read, "<nil>")
		try("and does not upload", second, Upload, "is for reading only")
		time.Sleep(59 * time.Minute)
		try("nearly an hour later", first, Upload, "<nil>") // and is remembered
		time.Sleep(time.Minute)
		try("an hour later", first, Upload, "expired at")
		revoked, left, err := RevokeTokens(t.Context(), livefile.Path(path), two.ID)
		if err != nil || left != 1 || len(revoked) != 1 || revoked[0].ID != two.ID {
			t.Fatal(revoked, left, err)
		}
		try("revoked", second, Read, "was revoked")
		if _, _, err := RevokeTokens(t.Context(), livefile.Path(path), two.ID); !errors.Is(err, ErrNoToken) {
			t.Errorf("revoked twice: %v", err)
		}
		if _, left, err := RevokeTokens(t.Context(), livefile.Path(path), one.ID); err != nil || left != 0 {
			t.Fatal(err)
		}
		try("the last one revoked opens nothing", "", Read, ErrUnauthenticated.Error())
		third, _ := create(Token{User: "ci", Scope: ScopeRead})
		try("a third", third, Read, "<nil>")
		write(t, path, "{")
		try("broken", third, Read, "<nil>")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		try("the file is gone", third, Read, "<nil>")
		try("the file is gone", "", Read, ErrUnauthenticated.Error())
		if strings.Count(log.String(), "level=ERROR") != 2 {
			t.Errorf("log: %s", log)
		}
	})
}

// TestSharedTokens: what one server's administrator does others see in seconds; what nobody can tell any more is good for a while.
func TestSharedTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, 0)
		far := raw.Link(storetest.Faults{Delay: 50 * time.Millisecond})
		kept := store.Document{Store: raw, Key: "tokens.json"}
		way := &cuttable{Document: store.Document{Store: far, Key: "tokens.json"}}
		tokens, err := OpenSharedTokens(t.Context(), way, false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go tokens.Run(ctx)
		g := NewGate(Policy{Tokens: tokens})
		try := func(when, header string, after time.Duration, want string) {
			t.Helper()
			time.Sleep(after)
			_, err := g.Authorize(header, here, Read)
			if got := fmt.Sprint(err); !strings.Contains(got, want) {
				t.Errorf("%s: %v, want %q", when, err, want)
			}
		}
		const seen = 2500 * time.Millisecond
		try("before there are tokens", "", 0, "<nil>")
		first, one, err := CreateToken(t.Context(), kept, Token{User: "ci", Scope: ScopeRead})
		if err != nil {
			t.Fatal(err)
		}
		second, _, err := CreateToken(t.Context(), kept, Token{User: "ci", Scope: ScopeRead})
		if err != nil {
			t.Fatal(err)
		}
		try("the first closes", "", seen, ErrUnauthenticated.Error())
		try("and lets in", "Bearer "+first, 0, "<nil>")
		if _, left, err := RevokeTokens(t.Context(), kept, one.ID); left != 1 || err != nil {
			t.Errorf("%d left, %v", left, err)
		}
		try("revoked", "Bearer "+first, seen, "was revoked")
		try("the other one", "Bearer "+second, 0, "<nil>")
		way.cut.Store(true)
		try("the store does not answer", "Bearer "+second, believed-10*time.Second, "<nil>")
		try("nor later", "Bearer "+second, 20*time.Second, "nobody can tell which tokens are good")
		_, err = g.Authorize("Bearer "+second, here, Read)
		if unavailable := new(store.UnavailableError); !errors.As(err, &unavailable) || unavailable.RetryAfter == 0 {
			t.Errorf("%v is no *store.UnavailableError", err)
		}
		try("nor for anybody else", "", 0, ErrUnauthenticated.Error())
		way.cut.Store(false)
		try("it answers again", "Bearer "+second, seen, "<nil>")
		before := raw.Requests()
		time.Sleep(time.Hour)
		if n := raw.Requests().Get - before.Get; n > 1800 {
			t.Errorf("%d requests in an hour", n)
		}
		way.cut.Store(true)
		if _, err := OpenSharedTokens(t.Context(), way, false, slog.New(slog.DiscardHandler)); err == nil {
			t.Error("opened without knowing the tokens")
		}
	})
}

// cuttable is a document to which the way may be cut.
type cuttable struct {
	livefile.Document
	cut atomic.Bool
}

func (c *cuttable) Read(ctx context.Context, known string) ([]byte, string, error) {
	if c.cut.Load() {
		return nil, "", storetest.ErrFault
	}
	return c.Document.Read(ctx, known)
}

// TestSharedTokensRace: of many who make and revoke tokens at once, over a store that loses answers, nobody loses what another did.
func TestSharedTokensRace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, 0)
		var all sync.WaitGroup
		kept := make(chan string, 100)
		for i := range 8 {
			all.Go(func() {
				doc := store.Document{Store: raw.Link(storetest.Faults{Seed: uint64(i), Delay: 20 * time.Millisecond, Lose: .1}), Key: "tokens.json"}
				for n := range 6 {
					_, token, err := CreateToken(t.Context(), doc, Token{User: "ci", Scope: ScopeRead})
					if err != nil {
						continue // it may be there, and nobody has it
					}
					if n%2 > 0 {
						kept <- token.ID
						continue
					}
					for {
						_, _, err := RevokeTokens(t.Context(), doc, token.ID)
						if err == nil || errors.Is(err, ErrNoToken) {
							break
						}
					}
					kept <- "-" + token.ID
				}
			})
		}
		all.Wait()
		close(kept)
		tokens, err := ReadTokens(t.Context(), store.Document{Store: raw, Key: "tokens.json"})
		if err != nil {
			t.Fatal(err)
		}
		ids := make(map[string]bool)
		for _, token := range tokens {
			ids[token.ID] = true
		}
		for id := range kept {
			id, revoked := strings.CutPrefix(id, "-")
			if ids[id] == revoked {
				t.Errorf("%s: revoked: %v, there: %v", id, revoked, ids[id])
			}
		}
	})
}

// TestUnreadableTokens: a file that comes and cannot be read closes, too.
func TestUnreadableTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "tokens")
		tokens, err := OpenTokens(path, false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		g := NewGate(Policy{Tokens: tokens})
		write(t, path, "nonsense")
		time.Sleep(2 * time.Second)
		if _, err := g.Authorize("", here, Read); !errors.Is(err, ErrUnauthenticated) {
			t.Error(err)
		}
		if _, err := OpenTokens(path, false, slog.New(slog.DiscardHandler)); err == nil {
			t.Error("opened")
		}
	})
	tokens, err := OpenTokens(filepath.Join(t.TempDir(), "missing"), true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if !NewGate(Policy{Tokens: tokens}).Closed(Read) {
		t.Error("tokens are needed and there are none: it is open")
	}
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	var wg sync.WaitGroup
	for i := range 20 { // at once, as processes would
		wg.Go(func() {
			if _, _, err := CreateToken(t.Context(), livefile.Path(path), Token{User: fmt.Sprint("user", i), Scope: ScopeUpload, Projects: []string{"Acme_*"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	tokens, err := ReadTokens(t.Context(), livefile.Path(path))
	if err != nil || len(tokens) != 20 || tokens[0].Projects[0] != "acme-*" {
		t.Errorf("%d tokens, want 20; %v", len(tokens), err)
	}
	if fi, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a temporary file is left: %v", err)
	}
	for name, bad := range map[string]Token{
		"no user":  {Scope: ScopeRead},
		"colon":    {User: "a:b", Scope: ScopeRead},
		"reserved": {User: tokenUser, Scope: ScopeRead},
		"scope":    {User: "a", Scope: "admin"},
		"glob":     {User: "a", Scope: ScopeUpload, Projects: []string{"["}},
		"no glob":  {User: "a", Scope: ScopeUpload, Projects: []string{""}},
		"reader":   {User: "a", Scope: ScopeRead, Projects: []string{"x"}},
		"path":     {User: "a", Scope: ScopeRead, In: "../pr-1"},
		"capitals": {User: "a", Scope: ScopeRead, In: "PR-1"},
	} {
		if _, _, err := CreateToken(t.Context(), livefile.Path(path), bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty":      "",
		"version":    `{"version":3}`,
		"twice":      strings.Replace(string(good), tokens[1].ID, tokens[0].ID, 1),
		"id":         strings.Replace(string(good), tokens[1].ID, "x", 1),
		"sha256":     strings.Replace(string(good), tokens[1].SHA256, "x", 1),
		"short hash": strings.Replace(string(good), tokens[1].SHA256, "abcd", 1),
	} {
		if _, err := parseTokens([]byte(content), "db"); err == nil || !strings.Contains(err.Error(), "db") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTokenAndLists: a token may no more than its user by name.
func TestTokenAndLists(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	secret, _, err := CreateToken(t.Context(), livefile.Path(path), Token{User: "ci", Scope: ScopeUpload})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := OpenTokens(path, false, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	names, err := OpenNames([]string{"alice"}, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	g := NewGate(Policy{Tokens: tokens, Uploaders: names})
	var forbidden *ForbiddenError
	if _, err := g.Authorize(send(tokenUser, secret), here, Upload); !errors.As(err, &forbidden) {
		t.Errorf("upload: %v", err)
	}
	if who, err := g.Authorize(send("ci", secret), here, Read); err != nil || who.User != "ci" || who.Token == "" {
		t.Errorf("read: %v", err)
	}
	for range 2 * perAddress.burst {
		_, err = g.Authorize("Bearer "+newToken("00000000"), here, Read)
	}
	var limited *LimitedError
	if !errors.As(err, &limited) {
		t.Errorf("wrong tokens are not counted: %v", err)
	}
	g.remembered = make(map[mac]*Identity)
	if _, err := g.Authorize(send("ci", secret), here, Read); err != nil {
		t.Errorf("a right token is held up: %v", err)
	}
}

func FuzzParseTokens(f *testing.F) {
	f.Add([]byte(`{"version":1,"tokens":[{"id":"abcdefgh","user":"ci","scope":"upload","projects":["a*"],"sha256":"` + strings.Repeat("0a", 32) + `","created":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"version":1,"tokens":[{}]}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens, err := parseTokens(b, "db")
		if err != nil && tokens != nil {
			t.Fatalf("tokens beside %v", err)
		}
		if n := len(newTokenTable(tokens).byID); n != len(tokens) {
			t.Errorf("%d of %d tokens are known", n, len(tokens))
		}
	})
}

func FuzzCredentials(f *testing.F) {
	f.Add(send("alice", "secret"))
	f.Add(send(tokenUser, newToken("abcdefgh")))
	f.Add("Bearer " + newToken("abcdefgh"))
	f.Add("Basic =")
	f.Fuzz(func(t *testing.T, header string) {
		user, secret, ok := credentials(header)
		if strings.Contains(user, ":") || !ok && user+secret != "" && strings.Contains(header, " ") && !strings.HasPrefix(strings.ToLower(header), "basic") {
			t.Errorf("%q: %q, %q, %v", header, user, secret, ok)
		}
		if id, ok := parseToken(secret); ok && (len(id) != idDigits || newTokenTable(nil).find(id, secret) != nil) {
			t.Errorf("%q is a token", secret)
		}
	})
}
