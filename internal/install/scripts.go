package install

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"curdling/internal/lazyregexp"
	"curdling/internal/python"
	"curdling/internal/version"
	"curdling/internal/wheel"
)

// shebang is the first line of a script for the interpreter, or, where the
// kernel cannot read that line, three lines that are a shell script to sh and a
// string to Python. Same as distlib's, which pip uses.
func shebang(executable, goos string) string {
	limit := 127
	if goos == "darwin" {
		limit = 512
	}
	if !strings.Contains(executable, " ") && len(executable)+3 <= limit && !isShellScript(executable) {
		return "#!" + executable + "\n"
	}
	if strings.Contains(executable, " ") {
		executable = `"` + executable + `"`
	}
	return "#!/bin/sh\n'''exec' " + executable + ` "$0" "$@"` + "\n' '''\n"
}

// isShellScript tells whether the interpreter is itself a script, as pyenv's are.
func isShellScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [2]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:]) == "#!"
}

// entryScript is the script of an entry point, as pip 26.3 writes it; below Python 3.9, as pip 24.0
// does, the last one for all of these.
func entryScript(shebang string, e wheel.EntryPoint, python version.Version) []byte {
	name, _, _ := strings.Cut(e.Attr, ".")
	form := `%simport sys
from %s import %s
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(%s())
`
	if python.Compare(python39) < 0 {
		form = `%s# -*- coding: utf-8 -*-
import re
import sys
from %s import %s
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\.pyw|\.exe)?$', '', sys.argv[0])
    sys.exit(%s())
`
	}
	return fmt.Appendf(nil, form, shebang, e.Module, name, e.Attr)
}

var python39 = version.MustParse("3.9")

// rewriteScript replaces a script's first line.
func rewriteScript(script []byte, shebang string) []byte {
	_, rest, _ := bytes.Cut(script, []byte("\n"))
	return append([]byte(shebang), rest...)
}

var (
	versionedPip         = lazyregexp.New(`^pip(\d+(\.\d+)?)?$`)
	versionedEasyInstall = lazyregexp.New(`^easy_install(-\d+\.\d+)?$`)
)

// consoleScripts gives the scripts to make. pip's and setuptools' own ones carry
// the Python version in their names: those of the interpreter at hand are made
// in place of those that the wheel's builder had, as pip does.
func consoleScripts(points []wheel.EntryPoint, p *python.Interpreter) []wheel.EntryPoint {
	release := p.Version.Release()
	major := fmt.Sprint(release[0])
	minor := fmt.Sprintf("%d.%d", release[0], release[1])
	points = withVersions(points, versionedPip, "pip", "pip"+major, "pip"+minor)
	return withVersions(points, versionedEasyInstall, "easy_install", "easy_install-"+minor)
}

// withVersions puts scripts of the given names in the place of those that
// match, where there is one of the first name.
func withVersions(points []wheel.EntryPoint, match *lazyregexp.Regexp, names ...string) []wheel.EntryPoint {
	at := slices.IndexFunc(points, func(e wheel.EntryPoint) bool { return e.Name == names[0] })
	if at < 0 {
		return points
	}
	var all []wheel.EntryPoint
	for _, name := range names {
		all = append(all, wheel.EntryPoint{Name: name, Module: points[at].Module, Attr: points[at].Attr})
	}
	for _, e := range points {
		if !match.MatchString(e.Name) {
			all = append(all, e)
		}
	}
	return all
}

// isWrapper tells whether a file of .data/scripts is what setuptools made of
// an entry point: it gives way to the script that we make.
func isWrapper(name string, w *wheel.Manifest) bool {
	stem := name
	for _, ending := range []string{".exe", "-script.py", ".pya"} {
		if cut := len(name) - len(ending); cut >= 0 && strings.EqualFold(name[cut:], ending) {
			stem = name[:cut]
			break
		}
	}
	same := func(e wheel.EntryPoint) bool { return e.Name == stem }
	return slices.ContainsFunc(w.ConsoleScripts, same) || slices.ContainsFunc(w.GUIScripts, same)
}
