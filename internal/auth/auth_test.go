package auth

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// send is how a client sends a password.
func send(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

var here = netip.MustParseAddr("192.0.2.1")

func TestPasswords(t *testing.T) {
	t.Parallel()
	u, _ := openUsers(t, "alice:"+hashed["sha1"]+"\nbob:"+hashed["bcrypt"])
	g := NewGate(Policy{Users: u})
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
		{"bob", strings.Repeat("x", maxAuthorization+1), ErrUnauthenticated},
	} {
		for i, action := range []Action{Read, Upload} {
			from := netip.AddrFrom4([4]byte{10, 0, byte(len(test.password)), byte(i)}) // guesses are not the matter here
			who, err := g.Authorize(send(test.user, test.password), from, action)
			if !errors.Is(err, test.want) || err == nil && who.User != test.user {
				t.Errorf("Authorize(%q, %.10q) = %v, %v, want %v", test.user, test.password, who, err, test.want)
			}
			if _, err := NewGate(Policy{}).Authorize(send(test.user, test.password), here, action); err != nil {
				t.Errorf("without users: %v", err)
			}
		}
	}
	for _, header := range []string{"", "Basic", "Basic !!!", "Basic YWxpY2U=", "Digest x", "Bearer", "Bearer password"} {
		if _, err := g.Authorize(header, here, Read); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%q: %v", header, err)
		}
	}
}

// TestWho is the table of who may do what.
func TestWho(t *testing.T) {
	t.Parallel()
	u, _ := openUsers(t, "alice:"+hashed["sha1"]+"\nbob:"+hashed["sha1"]+"\ncarol:"+hashed["sha1"])
	list := func(names ...string) *Names {
		n, err := OpenNames(names, slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, test := range map[string]struct {
		policy Policy
		want   string // of alice, bob, carol and nobody: r read, u upload, - neither, 401 in capitals
	}{
		"open":                 {Policy{}, "ru ru ru ru"},
		"users":                {Policy{Users: u}, "ru ru ru RU"},
		"uploaders":            {Policy{Users: u, Uploaders: list("alice")}, "ru r r RU"},
		"readers":              {Policy{Users: u, Readers: list("bob")}, "ru r ru RU"},
		"both":                 {Policy{Users: u, Uploaders: list("alice"), Readers: list("bob")}, "ru r - RU"},
		"in both":              {Policy{Users: u, Uploaders: list("alice"), Readers: list("alice")}, "ru - - RU"},
		"anonymous":            {Policy{Users: u, AnonymousRead: true}, "ru ru ru rU"},
		"anonymous, uploaders": {Policy{Users: u, AnonymousRead: true, Uploaders: list("alice")}, "ru r r rU"},
		"anonymous alone":      {Policy{AnonymousRead: true}, "rU rU rU rU"},
		"uploaders alone":      {Policy{Uploaders: list("alice")}, "RU RU RU RU"},
	} {
		g := NewGate(test.policy)
		var got []string
		for i, user := range []string{"alice", "bob", "carol", ""} {
			header := send(user, "password")
			if user == "" {
				header = ""
			}
			may := ""
			for action, letter := range map[Action]string{Read: "r", Upload: "u"} {
				from := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
				_, err := g.Authorize(header, from, action)
				var forbidden *ForbiddenError
				switch {
				case errors.Is(err, ErrUnauthenticated):
					letter = strings.ToUpper(letter)
				case errors.As(err, &forbidden):
					letter = ""
				case err != nil:
					t.Errorf("%s, %s: %v", name, user, err)
				}
				if action == Read {
					may = letter + may
				} else {
					may += letter
				}
			}
			if may == "" {
				may = "-"
			}
			got = append(got, may)
		}
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "uploaders")
		write(t, path, "# who\nbob\n\n carol \r\n")
		log := new(strings.Builder)
		n, err := OpenNames([]string{"alice", "@" + path}, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		check := func(want ...string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			if got := n.All(); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		check("alice", "bob", "carol")
		write(t, path, "dave")
		check("alice", "dave")
		write(t, path, "da:ve")
		check("alice", "dave")
		if !strings.Contains(log.String(), "uploaders:1") {
			t.Errorf("log: %s", log)
		}
	})
	for _, bad := range []string{"", "a:b", "a\nb", tokenUser, "@/nonexistent"} {
		if _, err := OpenNames([]string{bad}, slog.Default()); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, path := new(strings.Builder), filepath.Join(t.TempDir(), "users")
		write(t, path, "alice:"+hashed["sha1"])
		u, err := OpenUsers(path, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		g := NewGate(Policy{Users: u})
		step := func(name, user string, want error) {
			t.Helper()
			time.Sleep(time.Minute)
			if _, err := g.Authorize(send(user, "password"), here, Read); !errors.Is(err, want) {
				t.Errorf("%s: %s: %v, want %v", name, user, err, want)
			}
		}
		step("at the start", "alice", nil)
		write(t, path, "bob:"+hashed["sha1"])
		step("changed", "bob", nil)
		step("changed", "alice", ErrUnauthenticated) // though her password was remembered
		write(t, path, "bob:oops")
		step("broken", "bob", nil)
		step("still broken", "bob", nil)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		step("missing", "bob", nil)
		step("still missing", "bob", nil)
		write(t, path, "alice:"+hashed["des"])
		step("repaired", "alice", nil)
		if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
			t.Errorf("%d errors logged, want one for the broken file and one for the missing one:\n%s", n, log)
		}
		if strings.Contains(log.String(), "oops") {
			t.Errorf("the log shows the file's content:\n%s", log)
		}
	})
}

func TestOpenMissing(t *testing.T) {
	t.Parallel()
	if _, err := OpenUsers(filepath.Join(t.TempDir(), "no"), slog.Default()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want os.ErrNotExist", err)
	}
}

// TestManyAtOnce: one check for all who come with the same credentials at the
// same time, none for who comes later, one for a wrong one, and unknown users cost as much.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u, _ := openUsers(t, "alice:"+hashed["sha1"])
		var checks atomic.Int32
		slow := func(password string) bool {
			checks.Add(1)
			time.Sleep(50 * time.Millisecond)
			return password == "password"
		}
		table := u.file.Get()
		table.hashes["alice"], table.decoys = slow, []hash{slow}
		g := NewGate(Policy{Users: u})
		check := func(user, password string) error {
			_, err := g.Authorize(send(user, password), here, Read)
			return err
		}
		var wg sync.WaitGroup
		for range perAddress.burst {
			wg.Go(func() {
				if err := check("alice", "password"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := check("alice", "password"); err != nil {
			t.Error(err)
		}
		if n := checks.Swap(0); n != 1 {
			t.Errorf("%d checks for one password, want 1", n)
		}
		for _, c := range [][2]string{{"alice", "wrong"}, {"alice", "wrong"}, {"nobody", "password"}} {
			if err := check(c[0], c[1]); !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("%s: %v", c, err)
			}
		}
		if n := checks.Swap(0); n != 2 {
			t.Errorf("%d checks for a wrong password, the same again and an unknown user, want 2", n)
		}
		time.Sleep(2*rememberFor + time.Second)
		if err := check("alice", "password"); err != nil || checks.Load() != 1 {
			t.Errorf("after five minutes: %v, %d checks, want 1", err, checks.Load())
		}
	})
}

func TestRememberedIsBounded(t *testing.T) {
	t.Parallel()
	g, table := NewGate(Policy{}), &userTable{remembered: make(map[mac]time.Time)}
	for i := range 2*maxRemembered + 1 {
		m := mac{byte(i), byte(i >> 8), byte(i >> 16)}
		g.remember(m, nobody)
		table.remember(m)
	}
	if n := max(len(g.remembered), len(table.remembered)); n > maxRemembered {
		t.Errorf("%d remembered, want %d at most", n, maxRemembered)
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

func BenchmarkAuthorizeRemembered(b *testing.B) {
	path := filepath.Join(b.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice:"+hashed["bcrypt"]), 0o600); err != nil {
		b.Fatal(err)
	}
	u, err := OpenUsers(path, slog.Default())
	if err != nil {
		b.Fatal(err)
	}
	g, header := NewGate(Policy{Users: u}), send("alice", "password")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Authorize(header, here, Read); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDESCrypt(b *testing.B) {
	for b.Loop() {
		desCrypt("password", "ab")
	}
}
