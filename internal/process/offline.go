package process

// OfflineError says that the system lets no program run without a network. Nothing was run.
type OfflineError struct{ Err error }

func (e *OfflineError) Error() string {
	return "this system lets nothing run without a network: " + e.Err.Error() +
		" (on Linux it takes user namespaces, or root with CAP_SYS_ADMIN: see the settings user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)"
}

func (e *OfflineError) Unwrap() error { return e.Err }
