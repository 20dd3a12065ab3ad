package config

import "strings"

// Mask makes a URL, whose scheme may be left out, fit to be shown: it hides the
// password, a user without one, which may be a token, and the query.
func Mask(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return maskHost(s)
	}
	return scheme + "://" + maskHost(rest)
}

func maskHost(s string) string {
	end := strings.IndexAny(s, "/?#")
	if end < 0 {
		end = len(s)
	}
	if _, port, ok := strings.Cut(s[:end], ":"); ok && s[0] != '[' && !strings.Contains(s[:end], "@") && strings.Trim(port, "0123456789") != "" {
		end = len(s) // no port: a password with a slash in it
	}
	user := ""
	if at := strings.LastIndexByte(s[:end], '@'); at >= 0 {
		if name, _, ok := strings.Cut(s[:at], ":"); ok {
			user = name + ":"
		}
		user, s = user+"****@", s[at+1:]
	}
	if path, _, ok := strings.Cut(s, "?"); ok {
		s = path + "?****"
	}
	return user + s
}
