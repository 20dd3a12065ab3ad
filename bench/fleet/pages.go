//go:build linux

package main

import "context"

func (r *report) pages(ctx context.Context, o *options, dir string) error { return nil }
