package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// layered are flags of a program, and what layers say of them.
func layered(t testing.TB, environ []string, file string, line ...string) (*pflag.FlagSet, Layers) {
	t.Helper()
	flags := pflag.NewFlagSet("program", pflag.ContinueOnError)
	flags.String("config", "", "")
	flags.String("host", "0.0.0.0", "")
	flags.StringArray("upstream", nil, "")
	flags.StringSlice("private", []string{"ours-*"}, "")
	flags.Bool("debug", false, "")
	flags.Float64("rate", 0, "")
	flags.String("exclude-newer", "", "")
	flags.Bool("help", false, "")
	if file != "" {
		path := filepath.Join(t.TempDir(), "program.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		line = append(line, "--config", path)
	}
	if err := flags.Parse(line); err != nil {
		t.Fatal(err)
	}
	return flags, Layers{Program: "program", Prefix: "PROGRAM_", Environ: environ}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	type row struct {
		value  string
		origin string
	}
	for _, test := range []struct {
		name    string
		environ []string
		file    string
		line    []string
		want    map[string]row // of what is not as it is declared
	}{
		{"nothing", nil, "", nil, map[string]row{}},
		{"file", nil, "upstream = ['a=https://u:secret@h/', 'b=https://i/']\nprivate = []\ndebug = true\nrate = 1.5\nexclude-newer = 2026-01-02", nil, map[string]row{
			"upstream":      {"a=https://u:****@h/ b=https://i/", "FILE:1"},
			"private":       {"", "FILE:2"},
			"debug":         {"true", "FILE:3"},
			"rate":          {"1.5", "FILE:4"},
			"exclude-newer": {"2026-01-02", "FILE:5"},
		}},
		{"one of a list", nil, "upstream = 'a=https://h/'", nil, map[string]row{"upstream": {"a=https://h/", "FILE:1"}}},
		{"variables", []string{"PROGRAM_UPSTREAM=a=https://h/ , b=https://i/,", "PROGRAM_PRIVATE=a,b\nc\n", "PROGRAM_DEBUG=on", "PROGRAM_RATE=2", "PROGRAM_HOST=", "OTHER=1"}, "debug = false\nrate = 3", nil, map[string]row{
			"upstream": {"a=https://h/ b=https://i/", "PROGRAM_UPSTREAM"},
			"private":  {"a,b c", "PROGRAM_PRIVATE"},
			"debug":    {"true", "PROGRAM_DEBUG"},
			"rate":     {"2", "PROGRAM_RATE"},
		}},
		{"the command line", []string{"PROGRAM_HOST=b"}, "host = 'c'\nprivate = ['x']", []string{"--host", "a", "--private", "y"}, map[string]row{
			"host":    {"a", "command line"},
			"private": {"y", "command line"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			flags, layers := layered(t, test.environ, test.file, test.line...)
			origins, err := layers.Apply(flags, flags)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]row{}
			for _, s := range layers.Show(flags, origins) {
				if s.Origin != "default" && s.Key != "config" {
					origin := s.Origin
					if i := strings.LastIndexByte(origin, os.PathSeparator); i >= 0 {
						origin = strings.Replace(origin[i+1:], "program.toml", "FILE", 1)
					}
					got[s.Key] = row{strings.Join(s.Values, " "), origin}
				}
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(row{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLayersAreWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ environ, file, want string }{
		{"", "hots = 1", ":1: unknown key \"hots\"; did you mean host?"},
		{"", "\nhelp = true", ":2: unknown key \"help\"; the keys are the names of the flags, and 'program config' shows all of them"},
		{"", "config = 'x'", ":1: unknown key \"config\""},
		{"", "host = ['a']", ":1: host takes one value, not a list"},
		{"", "host = true", ":1: host is a boolean"},
		{"", "debug = 'true'", ":1: debug is not a boolean"},
		{"", "upstream = [['a']]", ":1: upstream is neither a string nor"},
		{"", "[host]\na = 1", ":1: host is neither a string nor"},
		{"", "rate = 'fast'", ":1: rate: "},
		{"", "host = 'a'\nhost = 'b'", ": line 2"},
		{"", strings.Repeat("#\n", maxCurdTOML), "no configuration is so long"},
		{"PROGRAM_RATE=fast", "", "PROGRAM_RATE: rate: "},
		{"PROGRAM_UPSTRAEM=x", "", "PROGRAM_UPSTRAEM: there is no such setting; did you mean PROGRAM_UPSTREAM?"},
		{"PROGRAM_CONFIG=/no/such/file", "", "/no/such/file: no such file"},
	} {
		flags, layers := layered(t, []string{test.environ}, test.file)
		if _, err := layers.Apply(flags, flags); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q, %.40q: %v, want %s", test.environ, test.file, err, test.want)
		}
	}
}

// TestLayersOfSubcommand: a command takes what it has of the program's settings,
// and its own flags are none.
func TestLayersOfSubcommand(t *testing.T) {
	t.Parallel()
	all, layers := layered(t, []string{"PROGRAM_HOST=h", "PROGRAM_DEBUG=1", "PROGRAM_DRY_RUN=1"}, "")
	command := pflag.NewFlagSet("command", pflag.ContinueOnError)
	host := command.String("host", "", "")
	dry := command.Bool("dry-run", false, "")
	origins, err := layers.Apply(command, all)
	if err != nil || *host != "h" || *dry || len(origins) != 1 {
		t.Errorf("%v, host %q, dry-run %v, from %v", err, *host, *dry, origins)
	}
}

func FuzzLayers(f *testing.F) {
	f.Add("host = 'a'\nupstream = ['b']\n", "PROGRAM_HOST=x")
	f.Add("[host]\na = 1", "PROGRAM_PRIVATE=a,b\nc")
	f.Add("debug = 1979-05-27", "PROGRAM_DEBUG=")
	f.Fuzz(func(t *testing.T, file, variable string) {
		if len(file) > 1<<12 {
			return
		}
		flags, layers := layered(t, []string{variable}, file)
		origins, err := layers.Apply(flags, flags)
		if err == nil {
			layers.Show(flags, origins)
		}
	})
}
