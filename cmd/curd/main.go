// Command curd installs Python distributions from shared caches of wheels and from indexes.
package main

import (
	"os"
)

func main() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
