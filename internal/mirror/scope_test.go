package mirror_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/livefile"
	"curdling/internal/mirror"
	"curdling/internal/server"
	"curdling/internal/store/disk"
)

// TestScopes: what is uploaded into a scope says nothing of whose a name is for others, and is held to what upstreams publish.
func TestScopes(t *testing.T) {
	t.Parallel()
	up := newOther(t, map[string][]published{"acme-tool": {acme99}, "flask": {flask9}})
	s := newSite(t, "", mirror.Config{}, up)
	folder, err := disk.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	scopes := catalog.NewScopes(catalog.ScopesConfig{Main: catalog.NewView(s.catalog), Folder: folder})
	t.Cleanup(func() { scopes.Close(); folder.Close() })
	tokens := filepath.Join(t.TempDir(), "tokens.json")
	secret, _, err := auth.CreateToken(t.Context(), livefile.Path(tokens), auth.Token{User: "ci", Scope: auth.ScopeUpload, In: "pr-1"})
	if err != nil {
		t.Fatal(err)
	}
	policy := auth.Policy{AnonymousRead: true}
	if policy.Tokens, err = auth.OpenTokens(tokens, true, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	h := server.New(server.Config{Catalog: s.catalog, Mirror: s.Mirror, Scopes: scopes, Policy: policy})
	do := func(method, path, body string, bound bool) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if bound {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	put := func(f published, content string) int {
		status, _ := do(http.MethodPut, "/p/"+f.name, content, true)
		return status
	}

	// A file that an upstream publishes comes with its bytes alone, and makes nothing the upstream's.
	other := makeWheel("flask", "9.0", 10)
	if status := put(flask9, other.content); status != http.StatusConflict {
		t.Errorf("other bytes than the upstream's: %d", status)
	}
	if status := put(flask9, flask9.content); status != http.StatusCreated {
		t.Errorf("the upstream's: %d", status)
	}
	if private, err := s.Private(t.Context(), "flask"); !private || err != nil || s.catalog.Project("flask") != nil {
		t.Errorf("the upload claimed a name; %v", err)
	}

	// A name that only the scope has is its own there, and the upstream's for all others.
	if status := put(acme1, acme1.content); status != http.StatusCreated {
		t.Fatalf("%d", status)
	}
	if _, body := do(http.MethodGet, "/simple/acme-tool/", "", true); !strings.Contains(body, acme1.name) || strings.Contains(body, acme99.name) {
		t.Errorf("the scope's page: %s", body)
	}
	if _, body := do(http.MethodGet, "/simple/acme-tool/", "", false); strings.Contains(body, acme1.name) || !strings.Contains(body, acme99.name) {
		t.Errorf("main's page: %s", body)
	}
	if names := s.PrivateHeld(); len(names) != 0 {
		t.Errorf("private in main: %v", names)
	}

	// Once main fetched a file of a project, what a scope has of it is laid over the upstream's page.
	if status, _ := do(http.MethodGet, "/p/"+flask9.name, "", false); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	if status := put(flask1, flask1.content); status != http.StatusCreated {
		t.Errorf("%d", status)
	}
	if _, body := do(http.MethodGet, "/simple/flask/", "", true); !strings.Contains(body, flask1.name) || !strings.Contains(body, flask9.name) {
		t.Errorf("the scope's page: %s", body)
	}
	if _, body := do(http.MethodGet, "/simple/flask/", "", false); strings.Contains(body, flask1.name) {
		t.Errorf("main's page: %s", body)
	}
}
