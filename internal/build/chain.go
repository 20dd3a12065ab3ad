package build

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

const maxChain = 16 // builds nested

type chainKey struct{}

// Chain gives the builds that ctx is within, outermost first: "docopt 0.6.2".
func Chain(ctx context.Context) []string {
	chain, _ := ctx.Value(chainKey{}).([]string)
	return chain
}

// Enter adds src to the chain, and refuses where it is in it already or the
// chain grows too long. Builder does it for its own builds; who waits for
// another's build of src can ask in the same way whether that could ever end.
func Enter(ctx context.Context, src Source) (context.Context, error) {
	chain, self := Chain(ctx), src.String()
	if i := slices.Index(chain, self); i >= 0 {
		return nil, &CycleError{Chain: append(slices.Clone(chain[i:]), self)}
	}
	if len(chain) >= maxChain {
		return nil, fmt.Errorf("%s: more than %d builds that need each other: %s", self, maxChain, needs(append(slices.Clone(chain), self)))
	}
	return context.WithValue(ctx, chainKey{}, append(slices.Clone(chain), self)), nil
}

// CycleError tells of sources that need each other to build. Chain begins and ends with the same one.
type CycleError struct{ Chain []string }

func (e *CycleError) Error() string {
	return e.Chain[0] + ": its build requirements form a cycle: " + needs(e.Chain) + "; try to install one of them as a wheel"
}

// needs is "a needs b to build, b needs a to build".
func needs(chain []string) string {
	var b strings.Builder
	for i, name := range chain[1:] {
		fmt.Fprintf(&b, ", %s needs %s to build", chain[i], name)
	}
	return strings.TrimPrefix(b.String(), ", ")
}
