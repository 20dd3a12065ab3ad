// Command curd-server shares a folder of Python wheels with every machine that can reach it.
package main

import "os"

func main() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) }
