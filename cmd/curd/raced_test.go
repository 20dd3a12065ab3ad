//go:build race

package main

const raced = true // the tests run under the race detector
