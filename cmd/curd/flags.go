package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/mod/sumdb/note"

	"curdling/internal/config"
	"curdling/internal/curd"
	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/requirement"
)

// inputFlags say what is required.
type inputFlags struct {
	files, constraints, buildConstraints, editable []string
	groups, extras                                 []string
}

func (f *inputFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.files, "requirement", "r", nil, "what a requirements `FILE` lists, a pyproject.toml or a script (PEP 723)\nrequires, or a pylock.toml locks; - is standard input; may repeat")
	f.registerConstraints(flags)
	flags.StringArrayVarP(&f.editable, "editable", "e", nil, "a project's `FOLDER` or repository, installed so that changes show at once; may repeat")
	f.registerParts(flags)
}

func (f *inputFlags) registerConstraints(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.constraints, "constraint", nil, "keep what is needed to the versions that `FILE` lists; may repeat")
	flags.StringArrayVar(&f.buildConstraints, "build-constraint", nil, "keep what builds need to the versions that `FILE` lists; may repeat")
}

func (f *inputFlags) registerParts(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.groups, "group", nil, "dependency group `NAME` of the lock file, else of the pyproject.toml here; PATH:NAME\nis that of another one; may repeat")
	flags.StringArrayVar(&f.extras, "extra", nil, "extra `NAME` of the lock file or the pyproject.toml of -r; may repeat")
}

// placeFlags say where distributions come from.
type placeFlags struct {
	caches, indexes, extraIndexes, findLinks, private []string
	strategy                                          string
	noIndex, offline                                  bool
	retries                                           int
	timeout                                           float64
	cert, clientCert, proxy, keyring                  string
	trusted                                           []string
	trust                                             []string
	verify                                            string
}

// registerCaches is apart: a lock names public places only.
func (f *placeFlags) registerCaches(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.caches, "cache", "c", nil, "`URL` of a cache server; may repeat: all are asked at once, the first that has it is taken\n(default $CURD_CACHES)")
	f.registerTrust(flags)
}

// registerTrust has what of cache servers is believed. That also counts for what the own cache has from them.
func (f *placeFlags) registerTrust(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.trust, "trust", nil, "of the builds of cache servers, use those alone that are signed with this `KEY`,\nor with one of those in a file (see curd key); may repeat; implies --verify upstream")
	flags.StringVar(&f.verify, "verify", "none", "upstream takes published files of cache servers only with the sha256 that the\nindex names: a `CHECK`")
}

func registerSignKey(flags *pflag.FlagSet, path *string) {
	flags.StringVar(path, "sign-key", "", "sign the records of builds with the key in `FILE` (see curd key; $CURD_SIGN_KEY may\nhold the key itself)")
}

// readSigner gives what signs builds, nil where no key is set.
func readSigner(cmd *cobra.Command, value string) (note.Signer, error) {
	if value == "" {
		return nil, nil
	}
	if cmd.Flags().Changed("sign-key") && strings.HasPrefix(value, curd.SecretKeyPrefix) {
		return nil, usageError{errors.New("--sign-key takes a file: on a command line all users of the machine can read a key; CURD_SIGN_KEY may hold it")}
	}
	signer, err := curd.ReadSigner(value)
	if err != nil {
		return nil, fmt.Errorf("the key that signs builds: %w", err)
	}
	return signer, nil
}

func (f *placeFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.indexes, "index", "i", nil, "`URL` of an index, or NAME=URL, in the place of the default one; may repeat\n(default $CURD_INDEX_URL, else pip's own setting)")
	flags.StringArrayVar(&f.extraIndexes, "extra-index-url", nil, "`URL` of an index to ask after the others; may repeat")
	flags.StringVar(&f.strategy, "index-strategy", firstIndex, "of several indexes, "+firstIndex+" takes the first that knows a name,\n"+bestMatch+" the best version of all: a `STRATEGY`")
	flags.StringArrayVarP(&f.findLinks, "find-links", "f", nil, "look in this `FOLDER` too, or at the links of a page; may repeat")
	flags.BoolVar(&f.noIndex, "no-index", false, "ask no index")
	flags.StringArrayVar(&f.private, "private", nil, "never ask the default index for names that match this `GLOB`; may repeat\n(default $CURD_PRIVATE)")
	flags.BoolVar(&f.offline, "offline", false, "ask no server: what this machine has must do")
	flags.StringVar(&f.cert, "cert", "", "trust the certificates in `FILE` (PEM) rather than the system's")
	flags.StringVar(&f.clientCert, "client-cert", "", "show servers the certificate in `FILE` (PEM, with its key)")
	flags.StringVar(&f.proxy, "proxy", "", "`URL` of a proxy (default $https_proxy, $http_proxy)")
	flags.StringArrayVar(&f.trusted, "trusted-host", nil, "do not check the certificate of `HOST` or HOST:PORT; may repeat")
	flags.IntVar(&f.retries, "retries", 3, "how often a request that failed is tried again: `N` times")
	flags.Float64Var(&f.timeout, "timeout", 30, "how many `SECONDS` a server may be silent")
	flags.StringVar(&f.keyring, "keyring-provider", "disabled", "subprocess asks the program keyring for passwords: a `PROVIDER`")
}

const (
	firstIndex = "first-index"
	bestMatch  = "unsafe-best-match"
)

// choiceFlags say which candidate is taken.
type choiceFlags struct {
	upgrade, pre, noDeps, onlyDeps, hashes, noIsolation, buildOffline bool
	upgradePackages, noBinary, onlyBin                                []string
	allReleases, onlyFinal                                            []string
	excludeNewer, resolution                                          string
	settings                                                          []string
}

func (f *choiceFlags) register(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.upgrade, "upgrade", "U", false, "take the newest version of all places")
	flags.StringArrayVarP(&f.upgradePackages, "upgrade-package", "P", nil, "take the newest version of `NAME`; may repeat")
	flags.BoolVar(&f.pre, "pre", false, "admit prereleases")
	flags.StringArrayVar(&f.allReleases, "all-releases", nil, "admit prereleases of these `NAMES` (comma-separated, or :all:)")
	flags.StringArrayVar(&f.onlyFinal, "only-final", nil, "admit no prereleases of these `NAMES` (comma-separated, or :all:)")
	flags.StringVar(&f.excludeNewer, "exclude-newer", "", "leave out what was uploaded after `WHEN`: 2026-11-01, a time (RFC 3339),\nor 7d for what is younger than seven days")
	flags.StringVar(&f.resolution, "resolution", string(curd.Highest), "which versions are preferred: `WHICH` is highest, lowest, or lowest-direct,\nthe lowest of what is named")
	flags.StringArrayVar(&f.noBinary, "no-binary", nil, "build these `NAMES` (comma-separated, or :all:) from source")
	flags.StringArrayVar(&f.onlyBin, "only-binary", nil, "never build these `NAMES` (comma-separated, or :all:)")
	flags.BoolVar(&f.noDeps, "no-deps", false, "leave out what the named packages need themselves")
	flags.BoolVar(&f.onlyDeps, "only-deps", false, "take what the named packages need, and not these themselves")
	flags.BoolVar(&f.hashes, "require-hashes", false, "take only files whose hash is given with --hash in the -r files")
	flags.StringArrayVarP(&f.settings, "config-settings", "C", nil, "a setting for build backends, `KEY=VALUE`; may repeat")
	flags.BoolVar(&f.noIsolation, "no-build-isolation", false, "build with what is installed in the environment")
	flags.BoolVar(&f.buildOffline, "build-offline", false, "let builds have no network (Linux); what they require is fetched for them as ever")
}

// environmentFlags say what is installed into, and how.
type environmentFlags struct {
	python, target, linkMode string
	breakSystem, compile     bool
}

func (f *environmentFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.python, "python", "", "interpreter or virtualenv to install into: a `PATH` or a version")
	flags.StringVarP(&f.target, "target", "t", "", "install into `FOLDER`, for that Python, and leave its environment alone")
	flags.BoolVar(&f.breakSystem, "break-system-packages", false, "install even into a Python that the system manages")
	flags.StringVar(&f.linkMode, "link-mode", "auto", "how files come from the own cache: a `MODE`, which is clone, hardlink or copy")
	flags.BoolVar(&f.compile, "compile-bytecode", false, "compile to bytecode now, once per machine, and not at the first import")
}

// outputFlags say what is told, and whether anything is done.
type outputFlags struct {
	quiet, verbose, dryRun bool
	report, trace          string
	log                    logFlags
}

func (f *outputFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and change nothing")
	flags.StringVar(&f.report, "report", "", "write what is installed to `FILE`, in pip's format; - is standard output")
	f.registerSaying(flags)
}

func (f *outputFlags) registerSaying(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say why each candidate was taken or left")
	f.log.register(flags)
}

// runFlags are those of a command that resolves; each command registers those that it has.
type runFlags struct {
	inputFlags
	placeFlags
	choiceFlags
	environmentFlags
	outputFlags
	upload, force, sync bool
	buildWait           float64
	signKey             string
	warnings            []string // of reading the requirements
}

// registerSharing has what cache servers are there for.
func (f *runFlags) registerSharing(flags *pflag.FlagSet) {
	f.registerCaches(flags)
	flags.BoolVarP(&f.upload, "upload", "u", false, "upload to the cache servers what they lacked")
	registerSignKey(flags, &f.signKey)
	flags.Float64Var(&f.buildWait, "build-wait", 3600, "wait up to `SECONDS` for what another machine is building at this moment;\n0 builds it here too, whatever befell others")
}

// options makes of flags, environment and configuration what a run is asked to do.
func (f *runFlags) options(cmd *cobra.Command, args []string) (curd.Options, error) {
	cfg, err := configure(cmd)
	if err != nil {
		return curd.Options{}, err
	}
	o := curd.Options{
		Python: f.python, Target: f.target, BreakSystemPackages: f.breakSystem, CompileBytecode: f.compile,
		Upload: f.upload, Upgrade: f.upgrade, Force: f.force, Prereleases: f.pre, DryRun: f.dryRun, NoDeps: f.noDeps, OnlyDeps: f.onlyDeps,
		RequireHashes: f.hashes, Hashes: map[dist.Name][]string{}, Editable: map[string]bool{}, NoBuildIsolation: f.noIsolation, BuildOffline: f.buildOffline,
		SettingsOf: map[string]map[string][]string{}, ConfigSettings: map[string][]string{},
		DefaultIndex: defaultIndex, UserAgent: userAgent(), Sync: f.sync, Sources: cfg.Sources(),
	}
	if o.Home, err = cfg.CacheDir(); err != nil {
		return o, err
	}
	if err := errors.Join(f.choose(&o), f.places(&o)); err != nil {
		return o, usageError{err}
	}
	if !(f.buildWait >= 0 && f.buildWait < 1e6) {
		return o, usageError{fmt.Errorf("--build-wait %v: a number of seconds from 0 on", f.buildWait)}
	}
	o.BuildWait = time.Duration(f.buildWait * float64(time.Second))
	if o.LinkMode, err = install.ParseLinkMode(f.linkMode); err != nil {
		return o, usageError{fmt.Errorf("--link-mode: %w", err)}
	}
	if err := f.requirements(cmd.Context(), &o, args); err != nil {
		return o, err
	}
	f.chooseIndexes(cmd, cfg, &o)
	if o.Upload && len(o.Caches) == 0 && cmd.Flags().Changed("upload") {
		return o, usageError{errors.New("-u needs a cache server to upload to: say -c URL or set CURD_CACHES")}
	}
	if f.upload || cmd.Name() == "wheel" {
		if o.Signer, err = readSigner(cmd, f.signKey); err != nil {
			return o, err
		}
	}
	if dir := filepath.Dir(f.report); f.report != "" {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return o, usageError{fmt.Errorf("--report %s: there is no folder %s", f.report, dir)}
		}
	}
	return o, checkServers(o)
}

// checkServers refuses what is no root of a server.
func checkServers(o curd.Options) (err error) {
	for _, u := range o.Caches {
		err = errors.Join(err, checkURL(u))
	}
	for _, i := range o.Indexes {
		err = errors.Join(err, checkURL(i.URL))
	}
	return err
}

// chooseIndexes takes those of the command line, else of the requirements files, else of the configuration.
func (f *placeFlags) chooseIndexes(cmd *cobra.Command, cfg *config.Config, o *curd.Options) {
	configured := parseIndexes(f.indexes, cfg)
	if o.Indexes == nil || cmd.Flags().Changed("index") {
		o.Indexes = configured
	} else {
		pinned := slices.Collect(maps.Values(cfg.Sources()))
		for _, i := range configured {
			if i.Name != "" && (i.Explicit || slices.Contains(pinned, i.Name)) {
				i.Explicit = true
				o.Indexes = append(o.Indexes, i)
			}
		}
	}
	if len(o.Indexes) == 0 && len(f.extraIndexes) > 0 && defaultIndex != "" {
		o.Indexes = parseIndexes([]string{defaultIndex}, cfg)
	}
	o.Indexes = append(o.Indexes, parseIndexes(f.extraIndexes, cfg)...)
}

// parseIndexes reads NAME=URL or URL.
func parseIndexes(texts []string, cfg *config.Config) (all []curd.NamedIndex) {
	for _, text := range texts {
		name, url := config.CutIndex(text)
		all = append(all, curd.NamedIndex{Name: name, URL: url, Explicit: cfg.Explicit()[name]})
	}
	return all
}

// places reads the flags that say where distributions come from.
func (f *placeFlags) places(o *curd.Options) error {
	o.Caches, o.Private, o.FindLinks, o.NoIndex, o.Offline = f.caches, f.private, f.findLinks, f.noIndex, f.offline
	if f.retries < 0 || f.timeout <= 0 {
		return errors.New("--retries must not be below 0, and --timeout must be above")
	}
	o.Network = curd.Network{
		Retries: f.retries, Timeout: time.Duration(f.timeout * float64(time.Second)),
		CABundle: f.cert, ClientCert: f.clientCert, Proxy: f.proxy, TrustedHosts: f.trusted, Keyring: f.keyring == "subprocess",
	}
	if f.retries == 0 {
		o.Network.Retries = -1
	}
	switch f.strategy {
	case firstIndex:
	case bestMatch:
		o.BestMatch = true
	default:
		return fmt.Errorf("--index-strategy %s: there are %s and %s", f.strategy, firstIndex, bestMatch)
	}
	if f.keyring != "disabled" && f.keyring != "subprocess" {
		return fmt.Errorf("--keyring-provider %s: there are disabled and subprocess", f.keyring)
	}
	switch f.verify {
	case "", "none":
	case "upstream":
		o.Verify = true
	default:
		return fmt.Errorf("--verify %s: there are none and upstream", f.verify)
	}
	var err error
	o.Trusted, err = curd.ReadTrusted(f.trust)
	return err
}

// addNames reads two options that exclude each other. Which came first is not known: what names projects goes
// before ":all:".
func addNames(a *requirement.Names, as []string, b *requirement.Names, bs []string) (err error) {
	for _, all := range []bool{true, false} {
		for _, v := range as {
			if strings.Contains(v, ":all:") == all {
				err = errors.Join(err, a.Add(v, b))
			}
		}
		for _, v := range bs {
			if strings.Contains(v, ":all:") == all {
				err = errors.Join(err, b.Add(v, a))
			}
		}
	}
	return err
}

// choose reads the flags that say which candidate is taken.
func (f *choiceFlags) choose(o *curd.Options) (err error) {
	err = errors.Join(
		addNames(&o.NoBinary, f.noBinary, &o.OnlyBinary, f.onlyBin),
		addNames(&o.PrereleasesOf, f.allReleases, &o.OnlyFinal, f.onlyFinal),
	)
	o.Prereleases = o.Prereleases || o.PrereleasesOf.All
	o.UpgradeOf = map[dist.Name]bool{}
	for _, text := range f.upgradePackages {
		name, nameErr := dist.ParseName(text)
		err = errors.Join(err, nameErr)
		o.UpgradeOf[name] = true
	}
	for _, s := range f.settings {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			err = errors.Join(err, fmt.Errorf("--config-settings %q: write KEY=VALUE", s))
		}
		o.ConfigSettings[key] = append(o.ConfigSettings[key], value)
	}
	o.Resolution = curd.Resolution(f.resolution)
	if all := []curd.Resolution{curd.Highest, curd.Lowest, curd.LowestDirect}; !slices.Contains(all, o.Resolution) {
		err = errors.Join(err, fmt.Errorf("--resolution %s: there are highest, lowest and lowest-direct", f.resolution))
	}
	if f.excludeNewer != "" {
		var whenErr error
		o.ExcludeNewer, whenErr = config.ParseCutoff(f.excludeNewer, time.Now())
		err = errors.Join(err, whenErr)
	}
	return err
}

// aliases are how pip and uv call our flags.
var aliases = map[string]string{
	"index-url": "index", "default-index": "index", "requirements": "requirement", "constraints": "constraint",
	"build-constraints": "build-constraint", "config-setting": "config-settings", "force-reinstall": "force",
	"reinstall": "force", "compile": "compile-bytecode", "uploaded-prior-to": "exclude-newer",
	"allow-insecure-host": "trusted-host", "output-file": "output",
}

// understandAliases lets a command's flags go by their other names, too.
func understandAliases(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(cmp.Or(aliases[name], name))
}
