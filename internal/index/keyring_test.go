package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
)

// keyringProgram is what this test's binary does as the keyring program. It
// notes each call in the file $TEST_KEYRING_CALLS.
func keyringProgram(mode string, args []string) int {
	calls, err := os.OpenFile(os.Getenv("TEST_KEYRING_CALLS"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 9
	}
	fmt.Fprintln(calls, strings.Join(args, " "))
	if n, err := os.Stdin.Read(make([]byte, 1)); n != 0 || err == nil {
		fmt.Fprintln(calls, "standard input is open")
	}
	creds := args[0] == "--mode"
	switch mode {
	case "knows", "knows the host":
		if mode == "knows the host" && strings.Contains(strings.Join(args, " "), "://") {
			return 1
		}
		if creds {
			fmt.Println("me")
		}
		fmt.Println("p:ä s")
	case "old":
		if creds {
			fmt.Fprintln(os.Stderr, "keyring: error: unrecognized arguments: --mode")
			return 2
		}
		fmt.Println("p:ä s")
	case "wrong":
		fmt.Println("me")
		if creds {
			fmt.Println("wrong")
		}
	case "nothing":
		return 1
	case "password alone":
		fmt.Println("p:ä s")
	case "babble":
		fmt.Print("a\nb\nc\n")
	case "flood":
		for err == nil {
			_, err = os.Stdout.Write(bytes.Repeat([]byte("hunter2 "), 1<<10))
		}
	case "silent":
		fmt.Fprintln(os.Stderr, "\x1b[31mopen https://h.test/ and enter 123")
		time.Sleep(time.Minute)
	}
	return 0
}

// useKeyring makes this test's binary the keyring program, and gives what was asked of it.
func useKeyring(t *testing.T, mode string) (program string, calls func() []string) {
	path := filepath.Join(t.TempDir(), "calls")
	t.Setenv("TEST_KEYRING", mode)
	t.Setenv("TEST_KEYRING_CALLS", path)
	return os.Args[0], func() []string {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
}

// closed lets in who knows the password, and counts the requests.
func closed(t *testing.T, requests *atomic.Int32) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if user, password, _ := r.BasicAuth(); user != "me" || password != "p:ä s" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		sendPage(w, r)
	})
}

func TestKeyring(t *testing.T) {
	withCreds := []string{"--mode creds get BASE/", "--mode creds get HOST"}
	withUser := []string{"get BASE/ me", "get HOST me"}
	tests := []struct {
		mode, user string // user as the URL has it, with the "@"
		netrc      Netrc
		requests   int32
		asked      []string
		log        string // part of what is logged; "" is nothing of the keyring
		ok         bool
	}{
		{"knows", "", nil, 2, withCreds[:1], "", true},
		{"knows", "me@", nil, 2, withUser[:1], "", true},
		{"knows the host", "", nil, 2, withCreds, "", true},
		{"knows the host", "me@", nil, 2, withUser, "", true},
		{"knows", "", Netrc{{"127.0.0.1", "me", "p:ä s"}}, 1, nil, "", true},
		{"knows", "me@", Netrc{{"127.0.0.1", "me", "p:ä s"}}, 1, nil, "", true},
		{"knows", "", Netrc{{"127.0.0.1", "me", "old"}}, 2, withCreds[:1], "", true},
		{"nothing", "me@", Netrc{{"127.0.0.1", "you", "p:ä s"}}, 1, withUser, "", false},
		{"knows", "me:no@", nil, 1, nil, "", false},
		{"knows", "-x@", nil, 1, nil, "", false},
		{"old", "me@", nil, 2, withUser[:1], "", true},
		{"old", "", nil, 1, withCreds[:1], "write https://USER@HOST/", false},
		{"wrong", "", nil, 2, withCreds[:1], "", false},
		{"nothing", "", nil, 1, withCreds, "", false},
		{"password alone", "", nil, 1, withCreds, "", false},
		{"babble", "", nil, 1, withCreds[:1], "too many lines", false},
		{"babble", "me@", nil, 1, withUser[:1], "too many lines", false},
		{"flood", "", nil, 1, withCreds[:1], "more than 65536 bytes", false},
		{"silent", "", nil, 1, withCreds[:1], "no answer within", false},
	}
	for _, tt := range tests {
		t.Run(tt.mode+" "+tt.user, func(t *testing.T) {
			var requests atomic.Int32
			var log bytes.Buffer
			base := closed(t, &requests)
			program, calls := useKeyring(t, tt.mode)
			c := testClient(t, Options{Keyring: program, Credentials: tt.netrc.Lookup, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if tt.mode == "silent" {
				c.keyringTime = 3 * time.Second // mostly enough to start it
			}
			_, err := c.Project(t.Context(), strings.Replace(base, "//", "//"+tt.user, 1), "x")
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("error %v", err)
			}
			if requests.Load() != tt.requests {
				t.Errorf("%d requests, want %d", requests.Load(), tt.requests)
			}
			var asked []string
			for _, call := range calls() {
				if call != "" {
					call = strings.Replace(call, base, "BASE", 1)
					asked = append(asked, strings.Replace(call, strings.TrimPrefix(base, "http://"), "HOST", 1))
				}
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" && (tt.mode != "silent" || asked != nil) {
				t.Errorf("asked of the keyring (-want +got):\n%s", diff)
			}
			said := log.String()
			if tt.log == "" && strings.Contains(said, "keyring") || !strings.Contains(said, tt.log) ||
				strings.Contains(said, "p:") || strings.Contains(said, "hunter2") || strings.Contains(said, "\x1b") {
				t.Errorf("logged: %s", said)
			}
			if tt.mode == "silent" && !strings.Contains(said, "enter 123") {
				t.Errorf("what its user has to do is not told: %s", said)
			}
		})
	}
}

// TestKeyringIsAskedOnce: by any number of requests, whatever it answers; and
// what it answers is used at once from then on, for downloads and uploads too.
func TestKeyringIsAskedOnce(t *testing.T) {
	for mode, want := range map[string]int{"knows": 1, "nothing": 2, "babble": 1} {
		t.Run(mode, func(t *testing.T) {
			var requests atomic.Int32
			base := closed(t, &requests)
			program, calls := useKeyring(t, mode)
			cache := &memory{}
			c := testClient(t, Options{Keyring: program, Cache: cache})
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					if _, err := c.Project(t.Context(), base, dist.Name(fmt.Sprint("x", i))); (err == nil) != (mode == "knows") {
						t.Error(err)
					}
				})
			}
			all.Wait()
			requests.Store(0)
			_, err := c.Project(t.Context(), base, "y")
			_, err2 := c.Download(t.Context(), dist.File{URL: base + "/f"}, tempFile(t), nil)
			_, err3 := c.Upload(t.Context(), base, tempFile(t).Name())
			if err = errors.Join(err, err2, err3); (err == nil) != (mode == "knows") || requests.Load() != 3 {
				t.Errorf("%v after %d requests", err, requests.Load())
			}
			if asked := calls(); len(asked) != want {
				t.Errorf("asked %q", asked)
			}
			// What the keyring's user was shown is not for who is unknown.
			for _, name := range []dist.Name{"x0", "y"} {
				if _, err := testClient(t, Options{Cache: cache}).Project(t.Context(), base, name); err == nil {
					t.Errorf("the page of %s was found without credentials", name)
				}
			}
		})
	}
}

func TestKeyringThatIsNotThere(t *testing.T) {
	var requests atomic.Int32
	var log bytes.Buffer
	c := testClient(t, Options{Keyring: "curdling-no-such-keyring", Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		if _, err := c.Project(t.Context(), closed(t, &requests), "x"); !errors.Is(err, fs.ErrPermission) {
			t.Error(err)
		}
	}
	if strings.Count(log.String(), "the keyring is left out") != 1 || requests.Load() != 2 {
		t.Errorf("%d requests, logged: %s", requests.Load(), log.String())
	}
}

// TestKeyringIsForItsOrigin: what it says of one server goes to no other, and a
// server that redirects everywhere does not have it asked without end.
func TestKeyringIsForItsOrigin(t *testing.T) {
	program, calls := useKeyring(t, "knows")
	var requests atomic.Int32
	private := closed(t, &requests)
	public := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			t.Error("credentials went to another server")
		}
		if r.URL.Path == "/away/" {
			http.Redirect(w, r, private+"/x/", http.StatusFound)
			return
		}
		sendPage(w, r)
	})
	c := testClient(t, Options{Keyring: program})
	for _, name := range []dist.Name{"away", "x", "away"} { // to where it leads they do
		if _, err := c.Project(t.Context(), public, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked := calls(); len(asked) != 1 || !strings.HasSuffix(asked[0], private+"/") {
		t.Errorf("asked %q", asked)
	}
	for i := range 2 * maxServices {
		r := get(mustURL(t, fmt.Sprintf("http://h%d.test/", i)), http.Header{})
		c.logins[fmt.Sprint(i)] = login{}
		if i > maxServices && c.relogin(t.Context(), r) {
			t.Fatal("asked once more")
		}
	}
}

func TestKeyringWaitsNoLongerThanItsAsker(t *testing.T) {
	program, _ := useKeyring(t, "silent")
	var requests atomic.Int32
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := testClient(t, Options{Keyring: program}).Project(ctx, closed(t, &requests), "x")
	if err == nil || time.Since(began) > 50*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
