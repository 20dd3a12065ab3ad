package auth

import (
	"net/netip"
	"sync"
	"time"
)

// How many wrong passwords are looked at, at once and one each so often.
var (
	perAddress = rate{10, 10 * time.Second} // an IPv4 address, an IPv6 /64
	perUser    = rate{20, 5 * time.Second}  // from all addresses that the user is not known from
)

const (
	knownFor   = 24 * time.Hour // a user's address stays known
	maxBuckets = 50_000
	maxKnown   = 50_000
)

type rate struct {
	burst int
	every time.Duration
}

// limiter slows down who guesses passwords. A wrong password counts against the
// address that it came from, and against the user. Once a user has come from an
// address with the right password, this pair is judged by its own wrong passwords
// alone: it is not held up by who guesses at the same user from elsewhere, nor by
// others behind the same address.
//
// A bucket is the time at which it will be empty again. Memory is bounded: where
// there are too many buckets, a quarter of them is forgotten by chance.
type limiter struct {
	key key

	mu      sync.Mutex
	buckets map[mac]time.Time
	known   map[mac]time.Time // until when
	turns   map[mac]*turn
}

// turn is held by one attempt; the others with the same address or user wait for it. So what is
// counted of right passwords that come all at once, as from a fleet of machines, does not hold these up.
type turn struct {
	held chan struct{} // of one
	n    int           // who holds it or waits for it; guarded by limiter.mu
}

// wait takes the turns of an address and of a user, in this order, and gives what ends them.
func (l *limiter) wait(user string, from netip.Addr) (done func()) {
	near := neighbourhood(from)
	endAddress := l.take(l.key.mac("address", string(near[:])))
	endUser := l.take(l.key.mac("user", user))
	return func() {
		endUser()
		endAddress()
	}
}

func (l *limiter) take(m mac) (end func()) {
	l.mu.Lock()
	t := l.turns[m]
	if t == nil {
		t = &turn{held: make(chan struct{}, 1)}
		l.turns[m] = t
	}
	t.n++
	l.mu.Unlock()
	t.held <- struct{}{}
	return func() {
		<-t.held
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.n--; t.n == 0 {
			delete(l.turns, m)
		}
	}
}

func newLimiter() *limiter {
	return &limiter{key: newKey(), buckets: make(map[mac]time.Time), known: make(map[mac]time.Time), turns: make(map[mac]*turn)}
}

// attempt is a password that is counted as wrong until it turns out to be right.
type attempt struct {
	limiter *limiter
	pair    mac
	charged []charge
}

type charge struct {
	bucket mac
	rate   rate
}

// begin counts an attempt, or tells how long to wait with it. An attempt
// without a user is counted against the address alone.
func (l *limiter) begin(user string, from netip.Addr) (*attempt, time.Duration) {
	near := neighbourhood(from)
	address := string(near[:])
	a := &attempt{limiter: l, pair: l.key.mac("pair "+user, address)}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case user == "":
		a.charged = []charge{{l.key.mac("address", address), perAddress}}
	case l.known[a.pair].After(now):
		a.charged = []charge{{a.pair, perAddress}}
	default:
		a.charged = []charge{{l.key.mac("address", address), perAddress}, {l.key.mac("user", user), perUser}}
	}
	var wait time.Duration
	for _, c := range a.charged {
		wait = max(wait, l.empty(c.bucket, now).Sub(now)-time.Duration(c.rate.burst-1)*c.rate.every)
	}
	if wait > 0 {
		return nil, wait
	}
	bound(l.buckets, maxBuckets, now)
	for _, c := range a.charged {
		l.buckets[c.bucket] = l.empty(c.bucket, now).Add(c.rate.every)
	}
	return a, 0
}

// empty tells when a bucket will be empty.
func (l *limiter) empty(bucket mac, now time.Time) time.Time {
	if at := l.buckets[bucket]; at.After(now) {
		return at
	}
	return now
}

// right takes the attempt back.
func (a *attempt) right() {
	l := a.limiter
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range a.charged {
		if empty, ok := l.buckets[c.bucket]; ok {
			l.buckets[c.bucket] = empty.Add(-c.rate.every)
		}
	}
	bound(l.known, maxKnown, now)
	l.known[a.pair] = now.Add(knownFor)
}

// bound makes room for two more.
func bound(m map[mac]time.Time, most int, now time.Time) {
	if len(m)+2 <= most {
		return
	}
	for k, until := range m {
		if !until.After(now) {
			delete(m, k)
		}
	}
	for k := range m { // in no order
		if len(m) <= most-most/4 {
			return
		}
		delete(m, k)
	}
}

// neighbourhood is what one attacker has: an IPv4 address, or an IPv6 /64.
func neighbourhood(a netip.Addr) [16]byte {
	if !a.IsValid() {
		return [16]byte{}
	}
	b := a.As16()
	if !a.Unmap().Is4() {
		clear(b[8:])
	}
	return b
}
