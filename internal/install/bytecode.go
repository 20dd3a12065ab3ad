package install

import (
	"fmt"
	"path"
	"slices"
)

// addBytecode lists what was compiled of the item's sources.
func (t *transaction) addBytecode(j *job) error {
	files := j.item.Bytecode.Files
	if len(files) == 0 {
		return nil
	}
	j.puts = slices.Grow(j.puts, len(files)+1) // with RECORD, so that pointers into it stay true
	sources := make(map[string]*put, len(j.puts))
	for i := range j.puts {
		if p := &j.puts[i]; p.file != nil {
			sources[p.file.Path] = p
		}
	}
	for i := range files {
		f := &files[i]
		source := sources[f.Source]
		if source == nil {
			return fmt.Errorf("%s: is bytecode of %s, which is not installed", f.Path, f.Source)
		}
		dir, name := path.Split(f.Path)
		dir = path.Clean(dir)
		if j.dests[dir] == nil {
			d, err := t.destination(j, dir)
			if err != nil {
				return err
			}
			j.dests[dir] = d
		}
		if d := j.dests[dir]; d == nil || d.staged {
			return fmt.Errorf("%s: bytecode does not belong there", f.Path)
		}
		source.modTime = f.ModTime
		j.puts = append(j.puts, put{job: j, dest: j.dests[dir], name: name, bytecode: f, source: source, executable: source.executable})
	}
	return nil
}

// absent tells of bytecode that is not installed, because its source is not.
func (p *put) absent() bool { return p.source != nil && p.source.dropped }
