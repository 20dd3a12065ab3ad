package record

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"curdling/internal/tag"
)

// Decides is what decides, before a build, whether one that is there will do.
type Decides struct {
	From      string              `json:"from"`     // see [From.SHA256]
	Tag       string              `json:"tag"`      // interpreter and ABI: a setup.py may look at them, whatever the wheel's tags say
	Platform  string              `json:"platform"` // system, architecture and family of its libc: "linux_x86_64 glibc"
	Settings  map[string][]string `json:"settings,omitempty"`
	Variables map[string]string   `json:"variables,omitempty"`
}

// Key is SHA-256 in hex of what decides. The versions of what a build requires
// are not in it: a setuptools that came out today makes no wheel of yesterday
// wrong. Neither is what the wheel needs of a host; its record tells that.
func Key(d Decides) string {
	text, _ := json.Marshal(d) // sorts the keys, and cannot fail on strings
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// TagOf gives the interpreter and the ABI that builds for a target are for: "cp311-cp311".
func TagOf(t tag.Target) string {
	first := tag.Supported(t)[0]
	return first.Python + "-" + first.ABI
}

// PlatformOf gives system, architecture and libc of a target, as [On] has them, and as [Decides] has them together.
func PlatformOf(t tag.Target) (platform, libc, both string) {
	supported := tag.Supported(t)
	platform = supported[0].Platform
	if t.OS == "macos" {
		return platform, "", "macosx_" + t.Arch
	}
	for _, s := range supported { // on Linux the last is that without a policy
		if strings.HasPrefix(s.Platform, "linux_") {
			platform = s.Platform
			break
		}
	}
	family := ""
	switch {
	case t.Glibc != nil:
		family, libc = "glibc", fmt.Sprintf("glibc %d.%d", t.Glibc[0], t.Glibc[1])
	case t.Musl != nil:
		family, libc = "musl", fmt.Sprintf("musl %d.%d", t.Musl[0], t.Musl[1])
	}
	return platform, libc, strings.TrimSpace(platform + " " + family)
}
