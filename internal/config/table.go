package config

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"curdling/internal/requirement"
)

// kind is what a setting may be set to.
type kind uint8

const (
	text kind = iota
	list
	boolean
	number
	table   // keys with a string or a list of strings each; the flag takes KEY=VALUE
	indexes // URLs, NAME=URL, or tables with name, url and explicit
)

// content is what the texts of a setting are.
type content uint8

const (
	plain       content = iota
	address             // a URL: ${VAR} of a TOML file expands
	place               // a path, or a URL: a path of a TOML file is relative to the file's folder
	interpreter         // a version, a command, or a path
	projects            // names of projects with commas between them, :all:, :none:
	publicKey           // of a signer of builds, or the path of a file of them
	secretKey           // path of a file, or, in a variable, the key to sign builds with
)

// key is a setting: under which names it is found, and what it may be.
type key struct {
	name string // in TOML files
	flag string // "": none
	env  string // "": TOML only
	pip  string // name in pip's configuration; "": pip has no such setting, or means something else by it
	kind
	content
	choices []string // nil: any text
}

// pipAliases are second names that pip gives an option.
var pipAliases = map[string]string{"timeout": "default-timeout", "index-url": "pypi-url", "no-deps": "no-dependencies"}

// variable gives the environment variable of pip's setting.
func variable(pip string) string {
	return "PIP_" + strings.ToUpper(strings.ReplaceAll(pip, "-", "_"))
}

// keys are all settings, in the order in which they are shown.
var keys = []key{
	{name: "cache-dir", env: "CURD_CACHE", content: place},
	{name: "caches", flag: "cache", env: "CURD_CACHES", kind: list, content: address},
	{name: "upload", flag: "upload", env: "CURD_UPLOAD", kind: boolean},
	{name: "build-wait", flag: "build-wait", env: "CURD_BUILD_WAIT", kind: number},
	{name: "sign-key", flag: "sign-key", env: "CURD_SIGN_KEY", content: secretKey},
	{name: "trust", flag: "trust", env: "CURD_TRUST", kind: list, content: publicKey},
	{name: "verify", flag: "verify", env: "CURD_VERIFY", choices: []string{"none", "upstream"}},

	{name: "index", flag: "index", env: "CURD_INDEX_URL", pip: "index-url", kind: indexes, content: address},
	{name: "sources", kind: table},
	{name: "index-strategy", flag: "index-strategy", env: "CURD_INDEX_STRATEGY", choices: []string{"first-index", "unsafe-best-match"}},
	{name: "find-links", flag: "find-links", env: "CURD_FIND_LINKS", pip: "find-links", kind: list, content: place},
	{name: "no-index", flag: "no-index", env: "CURD_NO_INDEX", pip: "no-index", kind: boolean},
	{name: "private", flag: "private", env: "CURD_PRIVATE", kind: list},
	{name: "offline", flag: "offline", env: "CURD_OFFLINE", kind: boolean},

	{name: "constraint", flag: "constraint", env: "CURD_CONSTRAINT", pip: "constraint", kind: list, content: place},
	{name: "build-constraint", flag: "build-constraint", env: "CURD_BUILD_CONSTRAINT", pip: "build-constraint", kind: list, content: place},
	{name: "pre", flag: "pre", env: "CURD_PRE", pip: "pre", kind: boolean},
	{name: "all-releases", flag: "all-releases", env: "CURD_ALL_RELEASES", pip: "all-releases", kind: list, content: projects},
	{name: "only-final", flag: "only-final", env: "CURD_ONLY_FINAL", pip: "only-final", kind: list, content: projects},
	{name: "exclude-newer", flag: "exclude-newer", env: "CURD_EXCLUDE_NEWER"},
	{name: "resolution", flag: "resolution", env: "CURD_RESOLUTION", choices: []string{"highest", "lowest", "lowest-direct"}},
	{name: "upgrade", flag: "upgrade", env: "CURD_UPGRADE", kind: boolean},
	{name: "no-deps", flag: "no-deps", env: "CURD_NO_DEPS", pip: "no-deps", kind: boolean},
	{name: "require-hashes", flag: "require-hashes", env: "CURD_REQUIRE_HASHES", pip: "require-hashes", kind: boolean},

	{name: "no-binary", flag: "no-binary", env: "CURD_NO_BINARY", pip: "no-binary", kind: list, content: projects},
	{name: "only-binary", flag: "only-binary", env: "CURD_ONLY_BINARY", pip: "only-binary", kind: list, content: projects},
	{name: "no-build-isolation", flag: "no-build-isolation", env: "CURD_NO_BUILD_ISOLATION", pip: "no-build-isolation", kind: boolean},
	{name: "build-offline", flag: "build-offline", env: "CURD_BUILD_OFFLINE", kind: boolean},
	{name: "config-settings", flag: "config-settings", env: "CURD_CONFIG_SETTINGS", kind: table},

	{name: "python", flag: "python", env: "CURD_PYTHON", content: interpreter},
	{name: "break-system-packages", flag: "break-system-packages", env: "CURD_BREAK_SYSTEM_PACKAGES", pip: "break-system-packages", kind: boolean},
	{name: "link-mode", flag: "link-mode", env: "CURD_LINK_MODE", choices: []string{"auto", "clone", "hardlink", "copy"}},
	{name: "compile-bytecode", flag: "compile-bytecode", env: "CURD_COMPILE_BYTECODE", kind: boolean},

	{name: "retries", flag: "retries", env: "CURD_RETRIES", pip: "retries", kind: number},
	{name: "timeout", flag: "timeout", env: "CURD_TIMEOUT", pip: "timeout", kind: number},
	{name: "cert", flag: "cert", env: "CURD_CERT", pip: "cert", content: place},
	{name: "client-cert", flag: "client-cert", env: "CURD_CLIENT_CERT", pip: "client-cert", content: place},
	{name: "proxy", flag: "proxy", env: "CURD_PROXY", pip: "proxy", content: address},
	{name: "trusted-host", flag: "trusted-host", env: "CURD_TRUSTED_HOST", pip: "trusted-host", kind: list},
	{name: "keyring-provider", flag: "keyring-provider", env: "CURD_KEYRING_PROVIDER", pip: "keyring-provider", choices: []string{"disabled", "subprocess"}},
}

// maxText is how long a text of a setting may be, in bytes.
const maxText = 1 << 14

// check refuses a text that a setting cannot be.
func (k *key) check(s string) error {
	switch {
	case len(s) > maxText:
		return fmt.Errorf("%s is longer than %d bytes", k.name, maxText)
	case s == "":
		return fmt.Errorf("%s is empty", k.name)
	case k.choices != nil && !slices.Contains(k.choices, s):
		return fmt.Errorf("%s is %.60q; it may be %s", k.name, s, strings.Join(k.choices, " or "))
	case k.kind == boolean:
		if _, ok := parseBool(s); !ok {
			return fmt.Errorf("%s is %.60q; it may be true or false", k.name, s)
		}
	case k.kind == number:
		if n, err := strconv.ParseFloat(s, 64); err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) {
			return fmt.Errorf("%s is %.60q, which is not a number from 0", k.name, s)
		}
	case k.kind == table:
		if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
			return fmt.Errorf("%s holds %.60q, which is not of the form KEY=VALUE", k.name, s)
		}
	case k.content == projects:
		var names, opposite requirement.Names
		if err := names.Add(s, &opposite); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	case k.kind == indexes, k.name == "caches":
		_, address := CutIndex(s)
		u, err := url.Parse(address)
		if err == nil && u.Scheme == "file" && u.Path != "" && k.kind == indexes {
			return nil
		}
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("%s: %.200q is not a URL of a server; write http://HOST:PORT or https://HOST/PATH", k.name, k.show(value{text: address}))
		}
	}
	return nil
}

// parseBool reads a truth value of an environment variable.
func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "1", "true", "yes", "on":
		return true, true
	case "0", "false", "no", "off":
		return false, true
	}
	return false, false
}

// nearest gives the key that name was likely meant to be, or "".
func nearest(name string) string {
	var spellings []string
	keyOf := map[string]string{}
	for _, k := range keys {
		of := []string{k.name, k.flag, k.pip}
		if k.kind == indexes {
			of = append(of, "indexes", "extra-index-url", "default-index")
		}
		for _, s := range of {
			if _, known := keyOf[s]; s != "" && !known {
				keyOf[s] = k.name
				spellings = append(spellings, s)
			}
		}
	}
	return keyOf[nearestOf(strings.ReplaceAll(strings.ToLower(name), "_", "-"), spellings)]
}

// nearestOf gives the spelling that name was likely meant to be, or "".
func nearestOf(name string, spellings []string) string {
	if len(name) > 60 {
		return ""
	}
	best, found := 3, "" // more slips make another word
	for _, s := range spellings {
		if d := distance(name, s); d < best && d < len(s) {
			best, found = d, s
		}
	}
	return found
}

// distance counts the letters to change, add or take out to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
