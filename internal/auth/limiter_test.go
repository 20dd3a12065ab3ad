package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// guesses is a gate with alice's and bob's passwords, and how often each address has asked it.
type guesses struct {
	*testing.T
	gate *Gate
	n    int
}

// outcome of a try: ok, wrong, or wait.
func (g *guesses) try(from, user, password string) string {
	g.Helper()
	_, err := g.gate.Authorize(send(user, password), netip.MustParseAddr(from), Read)
	var limited *LimitedError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &limited):
		if limited.Wait <= 0 || limited.Seconds() < 1 || limited.Wait > perAddress.every*time.Duration(perAddress.burst) {
			g.Errorf("to wait %s", limited.Wait)
		}
		return "wait"
	case errors.Is(err, ErrUnauthenticated):
		return "wrong"
	}
	g.Fatal(err)
	return ""
}

// guess tries another wrong password.
func (g *guesses) guess(from, user string) string {
	g.n++
	return g.try(from, user, fmt.Sprint("guess ", g.n))
}

// forget has right passwords checked again.
func (g *guesses) forget() { time.Sleep(rememberFor + time.Second) }

func testGuesses(t *testing.T, test func(g *guesses)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		u, _ := openUsers(t, "alice:"+hashed["sha1"]+"\nbob:"+hashed["sha1"])
		test(&guesses{T: t, gate: NewGate(Policy{Users: u})})
	})
}

func (g *guesses) want(want, got, when string) {
	g.Helper()
	if got != want {
		g.Errorf("%s: %s, want %s", when, got, want)
	}
}

func TestGuessesOfAnAddress(t *testing.T) {
	t.Parallel()
	testGuesses(t, func(g *guesses) {
		const attacker = "192.0.2.1"
		g.want("ok", g.try("198.51.100.1", "alice", "password"), "alice at home")
		for range perAddress.burst {
			g.want("wrong", g.guess(attacker, "alice"), "at first")
		}
		g.want("wait", g.guess(attacker, "alice"), "then")
		g.want("wait", g.guess(attacker, "bob"), "at another user")
		g.want("wait", g.try(attacker, "alice", "password"), "the right one is not looked at")
		g.want("ok", g.try("198.51.100.1", "alice", "password"), "alice at home")
		g.want("ok", g.try("198.51.100.2", "alice", "password"), "alice elsewhere")
		time.Sleep(perAddress.every)
		g.want("wrong", g.guess(attacker, "alice"), "one more after a while")
		g.want("wait", g.guess(attacker, "alice"), "and one only")
		time.Sleep(perAddress.every * time.Duration(perAddress.burst))
		for range perAddress.burst - 1 {
			g.want("wrong", g.guess(attacker, "alice"), "after a long while")
		}
		g.want("ok", g.try(attacker, "bob", "password"), "the right one")
		g.want("wrong", g.guess(attacker, "alice"), "a right one is not counted")
		g.want("wait", g.guess(attacker, "alice"), "the others are")
		g.want("ok", g.try(attacker, "bob", "password"), "bob is remembered")
		g.forget()
		for range perAddress.burst {
			g.guess(attacker, "alice")
		}
		g.want("wait", g.guess(attacker, "alice"), "again")
		g.want("ok", g.try(attacker, "bob", "password"), "bob was here before, and is judged by himself")
		for range perAddress.burst - 1 {
			g.want("wrong", g.guess(attacker, "bob"), "guesses at bob where he was")
		}
	})
}

func TestGuessesAtAUser(t *testing.T) {
	t.Parallel()
	testGuesses(t, func(g *guesses) {
		g.want("ok", g.try("198.51.100.1", "alice", "password"), "alice at home")
		g.forget()
		looked := 0
		for i := range 1000 { // from as many networks
			a := [16]byte{0: 0x20, 1: 0x01}
			binary.BigEndian.PutUint32(a[4:], uint32(i))
			if g.guess(netip.AddrFrom16(a).String(), "alice") == "wrong" {
				looked++
			}
		}
		if looked != perUser.burst {
			t.Errorf("%d of 1000 guesses at once were looked at, want %d", looked, perUser.burst)
		}
		g.want("wait", g.try("203.0.113.1", "alice", "password"), "alice where she never was")
		g.want("ok", g.try("203.0.113.1", "bob", "password"), "bob there")
		g.want("ok", g.try("198.51.100.1", "alice", "password"), "alice at home")
		g.want("ok", g.try("198.51.100.1", "alice", "password"), "alice at home, remembered")
		time.Sleep(perUser.every)
		g.want("ok", g.try("203.0.113.1", "alice", "password"), "alice where she never was, a little later")
		g.forget()
		g.want("wrong", g.guess("203.0.113.9", "nobody"), "who does not exist, is counted all the same")
	})
}

// TestNeighbourhood: one attacker has many IPv6 addresses.
func TestNeighbourhood(t *testing.T) {
	t.Parallel()
	testGuesses(t, func(g *guesses) {
		for i := range perAddress.burst {
			g.want("wrong", g.guess(fmt.Sprintf("2001:db8::%x", i+1), "alice"), "at first")
		}
		g.want("wait", g.guess("2001:db8::ffff:1", "alice"), "the same network")
		g.want("wrong", g.guess("2001:db8:0:1::1", "alice"), "the next network")
		g.want("wrong", g.guess("192.0.2.1", "bob"), "IPv4")
		for range perAddress.burst {
			g.guess("::ffff:192.0.2.1", "bob")
		}
		g.want("wait", g.guess("192.0.2.1", "bob"), "IPv4 in another form")
	})
}

func TestAtOnce(t *testing.T) {
	t.Parallel()
	testGuesses(t, func(g *guesses) {
		results := make(chan string)
		for i := range 200 {
			go func() { results <- g.try("192.0.2.1", "alice", fmt.Sprint(i)) }()
		}
		looked := 0
		for range 200 {
			if <-results == "wrong" {
				looked++
			}
		}
		if looked != perAddress.burst {
			t.Errorf("%d of 200 guesses at once were looked at, want %d", looked, perAddress.burst)
		}
	})
}

func TestLimiterIsBounded(t *testing.T) {
	t.Parallel()
	l := newLimiter()
	for i := range maxBuckets * 3 / 4 {
		a := [16]byte{0: 0x20, 1: 0x01}
		binary.BigEndian.PutUint32(a[4:], uint32(i))
		if attempt, _ := l.begin(fmt.Sprint("user ", i), netip.AddrFrom16(a)); attempt != nil && i%2 == 0 {
			attempt.right()
		}
	}
	if len(l.buckets) > maxBuckets || len(l.known) > maxKnown {
		t.Errorf("%d buckets and %d known pairs, want %d and %d at most", len(l.buckets), len(l.known), maxBuckets, maxKnown)
	}
}

// TestRightAtOnce: a fleet that starts at once with the right password is let in, all of it.
func TestRightAtOnce(t *testing.T) {
	t.Parallel()
	u, _ := openUsers(t, "alice:"+hashed["sha1"]+"\nbob:"+hashed["sha1"])
	gate := NewGate(Policy{Users: u})
	var machines sync.WaitGroup
	for i := range 200 {
		from := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 50)})
		machines.Go(func() {
			if _, err := gate.Authorize(send([]string{"alice", "bob"}[i%2], "password"), from, Read); err != nil {
				t.Errorf("machine %d: %v", i, err)
			}
		})
	}
	machines.Wait()
	if len(gate.limiter.turns) != 0 {
		t.Errorf("%d turns are left", len(gate.limiter.turns))
	}
}
