package auth

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hashes of the password "password", made by crypt(3), openssl and htpasswd.
var hashed = map[string]string{
	"bcrypt":        "$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu",
	"sha256":        "$5$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5",
	"sha256 rounds": "$5$rounds=10000$saltstringsaltst$DnR6.aMZDwOMqtynA.o2eobA3dYZepULoyGw/CZ4ID0",
	"sha512":        "$6$saltstring$adDbXsJjcDlq2662QPgd.tkSOVmnG9Tt3oXl4HR60SusC3AGjirnDenVZp3DGwLwqy6iYKCzannhaX9DR72nN1",
	"sha512 rounds": "$6$rounds=1000$abc$vw5PRczzmm7dyJhZWNpaLcy/M.HywGlo.UsELxKYV/ZI4356.iT3zYgbwHVzPSnvkT2lVlMoWMoJdUSLcmUNg.",
	"md5":           "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
	"apr1":          "$apr1$abcdefgh$FBwExRW4dCc8aL.OvjpIE1",
	"sha1":          "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
	"des":           "abJnggxhB/yWI",
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	for name, encoded := range hashed {
		h, err := parseHash(encoded)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !h("password") {
			t.Errorf("%s: the right password does not match", name)
		}
		for _, wrong := range []string{"", "Password", "passwor", encoded} {
			if h(wrong) {
				t.Errorf("%s: %q matches", name, wrong)
			}
		}
		if name != "des" && h("passwords") {
			t.Errorf("%s: a longer password matches", name)
		}
	}
}

func TestDESCrypt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ password, want string }{
		{"password", "abJnggxhB/yWI"},
		{"", "..X8NBuQ4l6uQ"},
		{"a", "zzJZ5PtvFqi9o"},
		{"secret", "/.4WmlAsvgZlI"},
		{"longer than eight", "XyvXgaEDF1aQA"},
		{"longer than ninety", "XyvXgaEDF1aQA"},
		{"p\u00e4ssw\u00f6rd", "A9if3XXxu1fzI"},
		{"12345678", "0z68Oh0n7hd4Q"},
		{"~}|{zyxw", "9/agJ9CCl0ndA"},
		{"Hello World", "KdvUQCzLA/4XU"},
		{"secret\x00ignored", "/.4WmlAsvgZlI"},
	} {
		if got := desCrypt(test.password, test.want[:2]); got != test.want {
			t.Errorf("desCrypt(%q, %q) = %q, want %q", test.password, test.want[:2], got, test.want)
		}
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	good := "alice:" + hashed["des"] + "\n"
	for name, test := range map[string]struct{ content, want string }{
		"empty":            {"", "no user"},
		"comments only":    {"# nobody\n\n", "no user"},
		"no colon":         {good + "\n# comment\nbob\n", "db:4: no colon"},
		"no name":          {":" + hashed["des"], "db:1: no usable name"},
		"control in name":  {"b\x01b:" + hashed["des"], "db:1: no usable name"},
		"plain text":       {good + "bob:hunter2\n", `db:2: user "bob": not a hash; plain text`},
		"empty hash":       {"bob:\n", `db:1: user "bob": not a hash`},
		"unknown scheme":   {"bob:$y$j9T$abc$def", "unknown scheme"},
		"ssha":             {"bob:{SSHA}xyz", "unknown scheme"},
		"short bcrypt":     {"bob:$2y$05$abc", "malformed"},
		"bcrypt cost 39":   {"bob:$2b$39$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu", "malformed"},
		"sha1 wrong size":  {"bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37m", "malformed"},
		"rounds too few":   {"bob:$5$rounds=10$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5", "malformed"},
		"rounds no number": {"bob:$5$rounds=x$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5", "malformed"},
		"twice":            {good + good, `db:2: user "alice" stands already in line 1`},
		"too large":        {strings.Repeat("#\n", maxFile/2+1), "larger than 16 MiB"},
	} {
		_, err := readHashes(strings.NewReader(test.content), "db")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func TestGoodFile(t *testing.T) {
	t.Parallel()
	content := "# users\r\n\r\nalice:" + hashed["des"] + ":Alice Example:more\r\n  bob:" + hashed["apr1"] + " # since May\nçelik:" + hashed["sha1"]
	hashes, err := readHashes(strings.NewReader(content), "db")
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "bob", "çelik"} {
		if h := hashes[user]; h == nil || !h("password") {
			t.Errorf("%s cannot log in", user)
		}
	}
	if len(hashes) != 3 {
		t.Errorf("%d users, want 3", len(hashes))
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func openUsers(t *testing.T, content string) (*Users, *strings.Builder) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	write(t, path, content)
	log := new(strings.Builder)
	u, err := OpenUsers(path, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return u, log
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	u, _ := openUsers(t, "alice:"+hashed["sha1"]+"\nbob:"+hashed["bcrypt"])
	for _, test := range []struct {
		user, password string
		want           error
	}{
		{"alice", "password", nil},
		{"alice", "password", nil}, // from memory
		{"bob", "password", nil},
		{"bob", "wrong", ErrUnauthenticated},
		{"bob", "", ErrUnauthenticated},
		{"nobody", "password", ErrUnauthenticated},
		{"", "", ErrUnauthenticated},
		{"", "password", ErrUnauthenticated},
		{"bob", strings.Repeat("x", maxPassword+1), ErrUnauthenticated},
	} {
		for _, action := range []Action{Read, Upload} {
			if err := (Policy{Users: u}).Authorize(test.user, test.password, action); !errors.Is(err, test.want) {
				t.Errorf("Authorize(%q, %.10q) = %v, want %v", test.user, test.password, err, test.want)
			}
			if err := (Policy{}).Authorize(test.user, test.password, action); err != nil {
				t.Errorf("without users: %v", err)
			}
		}
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	u, log := openUsers(t, "alice:"+hashed["sha1"])
	now := time.Now()
	step := func(name, user string, want bool) {
		t.Helper()
		now = now.Add(2 * statEvery)
		u.refresh(now)
		if got := u.Check(user, "password"); got != want {
			t.Errorf("%s: Check(%s) = %v, want %v", name, user, got, want)
		}
	}
	step("at the start", "alice", true)
	write(t, u.path, "bob:"+hashed["sha1"])
	step("changed", "bob", true)
	step("changed", "alice", false) // though her password was remembered
	write(t, u.path, "bob:oops")
	step("broken", "bob", true)
	step("still broken", "bob", true)
	if err := os.Remove(u.path); err != nil {
		t.Fatal(err)
	}
	step("missing", "bob", true)
	step("still missing", "bob", true)
	write(t, u.path, "alice:"+hashed["des"])
	step("repaired", "alice", true)
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors logged, want one for the broken file and one for the missing one:\n%s", n, log)
	}
	if strings.Contains(log.String(), "oops") {
		t.Errorf("the log shows the file's content:\n%s", log)
	}
}

func TestOpenMissing(t *testing.T) {
	t.Parallel()
	if _, err := OpenUsers(filepath.Join(t.TempDir(), "no"), slog.Default()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want os.ErrNotExist", err)
	}
}

// TestManyAtOnce: one check for all who come with the same credentials at the
// same time, none for who comes later, one for each wrong one, and unknown users cost as much.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	u, _ := openUsers(t, "alice:"+hashed["sha1"])
	var checks atomic.Int32
	slow := func(password string) bool {
		checks.Add(1)
		time.Sleep(50 * time.Millisecond)
		return password == "password"
	}
	g := u.current.Load()
	g.hashes["alice"], g.decoys = slow, []hash{slow}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if !u.Check("alice", "password") {
				t.Error("refused")
			}
		})
	}
	wg.Wait()
	u.Check("alice", "password")
	if n := checks.Swap(0); n != 1 {
		t.Errorf("%d checks for one password, want 1", n)
	}
	u.Check("alice", "wrong")
	u.Check("alice", "wrong")
	if u.Check("nobody", "password") {
		t.Error("an unknown user came in")
	}
	if n := checks.Load(); n != 3 {
		t.Errorf("%d checks for two wrong passwords and an unknown user, want 3", n)
	}
}

func TestRememberedIsBounded(t *testing.T) {
	t.Parallel()
	g := &generation{remembered: make(map[mac]time.Time)}
	for i := range 2*maxRemembered + 1 {
		g.remember(mac{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	if n := len(g.remembered); n > maxRemembered {
		t.Errorf("%d remembered, want %d at most", n, maxRemembered)
	}
	g.remembered[mac{1}] = time.Now().Add(-time.Second)
	if g.remembers(mac{1}) {
		t.Error("remembered longer than it should")
	}
}

func FuzzReadHashes(f *testing.F) {
	for _, encoded := range hashed {
		f.Add([]byte("alice:" + encoded + "\n"))
	}
	f.Add([]byte("# comment\n\nbob:x:y\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		hashes, err := readHashes(strings.NewReader(string(b)), "db")
		if (err == nil) != (len(hashes) > 0) {
			t.Fatalf("%d users and error %v", len(hashes), err)
		}
		cheap := !strings.Contains(string(b), "rounds=") && !strings.Contains(string(b), "$2")
		for user, h := range hashes {
			if user == "" {
				t.Error("an empty name")
			}
			if cheap {
				h("password") // must not panic
			}
		}
	})
}

func BenchmarkCheckRemembered(b *testing.B) {
	path := filepath.Join(b.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice:"+hashed["bcrypt"]), 0o600); err != nil {
		b.Fatal(err)
	}
	u, err := OpenUsers(path, slog.Default())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !u.Check("alice", "password") {
				b.Fatal("refused")
			}
		}
	})
}

func BenchmarkDESCrypt(b *testing.B) {
	for b.Loop() {
		desCrypt("password", "ab")
	}
}
