package main

import (
	"context"
	"encoding/json"
	"time"
)

type object = map[string]any

// billOfMaterials writes what the programs are linked from, in CycloneDX 1.6.
func (r *release) billOfMaterials(context.Context) error {
	mit := []object{{"license": object{"id": "MIT"}}}
	var components, dependencies []object
	needs := map[string][]string{}
	for _, name := range programs {
		components = append(components, object{"type": "application", "bom-ref": name, "name": name, "version": r.version, "licenses": mit})
	}
	for _, m := range r.modules {
		url := "pkg:golang/" + m.path + "@" + m.version
		c := object{"type": "library", "bom-ref": url, "name": m.path, "version": m.version, "purl": url}
		if m.sum != "" {
			c["properties"] = []object{{"name": "go.sum", "value": m.sum}}
		}
		components = append(components, c)
		dependencies = append(dependencies, object{"ref": url})
		for _, name := range m.programs {
			needs[name] = append(needs[name], url)
		}
	}
	for _, name := range programs {
		dependencies = append(dependencies, object{"ref": name, "dependsOn": needs[name]})
	}
	dependencies = append(dependencies, object{"ref": "curdling", "dependsOn": programs})
	text, err := json.MarshalIndent(object{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata": object{
			"timestamp": r.time.Format(time.RFC3339),
			"authors":   []object{{"name": "The Curdling authors"}},
			"component": object{"type": "application", "bom-ref": "curdling", "name": "curdling", "version": r.version, "licenses": mit},
		},
		"components": components, "dependencies": dependencies,
	}, "", "  ")
	if err != nil {
		return err
	}
	return r.write("curdling-"+r.version+".cdx.json", append(text, '\n'))
}
