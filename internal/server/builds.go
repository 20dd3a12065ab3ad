package server

import (
	"net/http"
	"strings"

	"curdling/internal/auth"
	"curdling/internal/lease"
	"curdling/internal/store"
)

// Builds lets clients build what they all need once. The zero value grants no leases, and its routes are as if they were not there.
type Builds struct {
	// Leases are on FROM/KEY, and on FROM/KEY/metadata.
	Leases *lease.Leases
	// Prepared keeps METADATA of sources, under FROM/KEY; set where Leases is.
	Prepared lease.Documents
	// Below keeps both for a scope below main. nil: there are no scopes.
	Below func(scope string) (leases, prepared lease.Documents)
}

// buildRoutes are those of builds under way.
func (s *Server) buildRoutes(routes map[string]methods) {
	if s.builds.Leases == nil {
		return
	}
	claim := methods{http.MethodPut: s.allow(auth.Upload, (*shelf).heartbeat), http.MethodDelete: s.allow(auth.Upload, (*shelf).endLease)}
	routes["/builds/{from}/{key}"] = methods{http.MethodPost: s.allow(auth.Read, (*shelf).askBuild)}
	routes["/builds/{from}/{key}/{lease}"] = claim
	routes["/builds/{from}/{key}/metadata"] = methods{http.MethodPost: s.allow(auth.Read, (*shelf).askMetadata),
		http.MethodGet: s.allow(auth.Read, (*shelf).getBuildMetadata), http.MethodPut: s.upload((*shelf).putBuildMetadata)}
	routes["/builds/{from}/{key}/metadata/{lease}"] = claim
}

// leases are those that the scope's own may hold. What is held, or failed, in a scope below main, main's do not see.
func (s *shelf) leases() *lease.Leases {
	if s.scope == "" {
		return s.builds.Leases
	}
	return s.builds.Leases.Apart(s.scope, func() lease.Documents {
		leases, _ := s.builds.Below(s.scope)
		return leases
	})
}

// buildName is FROM/KEY of a path.
func buildName(r *http.Request) (name string, err error) {
	from, key := r.PathValue("from"), r.PathValue("key")
	if !store.IsSHA256(from) || !store.IsSHA256(key) {
		return "", refuse(http.StatusBadRequest, "a build is named by two times 64 lower-case hexadecimal digits: /builds/FROM/KEY")
	}
	return from + "/" + key, nil
}

// leaseName is the name of the lease that a path is about.
func leaseName(r *http.Request) (string, error) {
	name, err := buildName(r)
	if strings.HasPrefix(r.Pattern, "/builds/{from}/{key}/metadata") {
		name += "/metadata"
	}
	return name, err
}
