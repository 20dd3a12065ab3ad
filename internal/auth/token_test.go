package auth

import (
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
	"testing"
	"testing/synctest"
	"time"
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
			secret, created, err := CreateToken(t.Context(), path, token)
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
		revoked, left, err := RevokeTokens(t.Context(), path, two.ID)
		if err != nil || left != 1 || len(revoked) != 1 || revoked[0].ID != two.ID {
			t.Fatal(revoked, left, err)
		}
		try("revoked", second, Read, "was revoked")
		if _, _, err := RevokeTokens(t.Context(), path, two.ID); !errors.Is(err, ErrNoToken) {
			t.Errorf("revoked twice: %v", err)
		}
		if _, left, err := RevokeTokens(t.Context(), path, one.ID); err != nil || left != 0 {
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
			if _, _, err := CreateToken(t.Context(), path, Token{User: fmt.Sprint("user", i), Scope: ScopeUpload, Projects: []string{"Acme_*"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	tokens, err := ReadTokens(path)
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
		if _, _, err := CreateToken(t.Context(), path, bad); err == nil {
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
	secret, _, err := CreateToken(t.Context(), path, Token{User: "ci", Scope: ScopeUpload})
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
