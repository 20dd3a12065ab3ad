//go:build !linux && !darwin

package curds

func bootID() string { return "" }
