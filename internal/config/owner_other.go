//go:build !unix

package config

// strange is not to be told here: the rights of a folder decide who may write into it.
func strange(string, string) bool { return false }
