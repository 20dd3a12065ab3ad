package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"curdling/internal/config"
	"curdling/internal/index"
)

func newConfig() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "config [flags]",
		Short: "print every setting with where it comes from",
		Long: `Print every setting with where it comes from. What a command line does not say comes from

  1. the environment: CURD_CACHES, CURD_INDEX_URL, CURD_OFFLINE...
  2. the project's curd.toml, or the table [tool.curd] of its pyproject.toml:
     that of the working folder, else of the nearest folder above that has one
  3. your curd.toml: ~/.config/curd/curd.toml
  4. the machine's: /etc/curd.toml
  5. pip's own settings that mean the same: PIP_INDEX_URL..., pip.conf

The nearer replaces the farther, setting by setting. CURD_CONFIG_FILE=FILE is read in the
place of 2 to 4; CURD_CONFIG_FILE=/dev/null reads none. pip's are those of pip install.

A curd.toml has a key for each flag that can be set, and all keys may be left out:

  caches = ["https://ci:${CACHE_TOKEN}@cache.example.org"]   # of -c; ${...} is from the environment
  upload = true
  exclude-newer = "7d"
  constraint = ["constraints.txt"]     # paths are relative to the folder of the file
  index = "https://pypi.example.org/simple/"

or, with more than one index (in a pyproject.toml: [[tool.curd.index]] and [tool.curd.sources]):

  [[index]]
  url = "https://pypi.example.org/simple/"

  [[index]]
  name = "pytorch"
  url = "https://torch.example.org/whl/cpu"
  explicit = true                      # asked for the packages below and no others

  [sources]
  torch = "pytorch"

  [config-settings]
  --build-option = ["--verbose"]

Passwords in URLs are shown as ****, and what ${...} stands for is not shown.`,
		Example: `  curd config
  curd config --format json
  CURD_CONFIG_FILE=/dev/null curd config       (without configuration files)`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return usageError{fmt.Errorf("--format %s: the formats are text and json", format)}
			}
			c, err := config.Load(config.Options{DefaultIndex: defaultIndex})
			if err != nil {
				return err
			}
			settings := append(withDefaults(cmd.Root(), c.Settings()), systemSettings(os.Getenv)...)
			if format == "json" {
				return config.PrintJSON(cmd.OutOrStdout(), settings)
			}
			return config.Print(cmd.OutOrStdout(), settings)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "`FORM` of what is printed: text or json")
	return cmd
}

// withDefaults fills in what the flags are where nothing is set.
func withDefaults(root *cobra.Command, settings []config.Setting) []config.Setting {
	for i := range settings {
		s := &settings[i]
		if s.Origin != "default" || s.Values != nil {
			continue
		}
		if s.Key == "index" && defaultIndex != "" {
			s.Values = []string{defaultIndex}
		}
		for _, cmd := range root.Commands() {
			flag := cmd.Flags().Lookup(s.Flag)
			if s.Flag != "" && flag != nil && flag.DefValue != "" && flag.DefValue != "[]" {
				s.Values = []string{flag.DefValue}
				break
			}
		}
	}
	return settings
}

// systemSettings are those that curd shares with other programs.
func systemSettings(getenv func(string) string) []config.Setting {
	var settings []config.Setting
	for _, names := range [][]string{ // in the order in which they are looked at
		{"http_proxy", "HTTP_PROXY", "http_proxy"}, {"https_proxy", "HTTPS_PROXY", "https_proxy"}, {"no_proxy", "NO_PROXY", "no_proxy"},
		{"SSL_CERT_FILE", "SSL_CERT_FILE"}, {"SSL_CERT_DIR", "SSL_CERT_DIR"},
	} {
		s := config.Setting{Key: names[0], Origin: "default"}
		for _, name := range names[1:] {
			if value := getenv(name); value != "" {
				s.Values, s.Origin = []string{config.Mask(value)}, name
				break
			}
		}
		settings = append(settings, s)
	}
	netrc := config.Setting{Key: "netrc", Origin: "default"}
	if path := index.FindNetrc(getenv); path != "" {
		netrc.Values = []string{path}
		if path == getenv("NETRC") {
			netrc.Origin = "NETRC"
		}
	}
	return append(settings, netrc)
}
