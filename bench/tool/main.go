// Command tool makes what the benchmarks measure with: wheels, password files,
// uploads, many clients for one file, an upstream that misbehaves when told to, a
// long way to a server, and the least that an installation must do.
//
//	tool wheels    -dir DIR -count N -versions N -size BYTES [-name PREFIX]
//	tool htpasswd  NAME PASSWORD COST
//	tool upload    -url URL -at-once N -seconds S -max N -round NAME
//	tool burst     -url URL -clients N -sha256 HEX
//	tool upstream  -dir DIR -port PORT -rate BYTES
//	tool delay     -to HOST:PORT -port PORT -rtt DURATION
//	tool limit     -tarballs DIR -trees DIR -to DIR
//
// Results are one object of JSON on the standard output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/bcrypt"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/tool:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	commands := map[string]func(context.Context, []string) error{
		"wheels": wheels, "htpasswd": htpasswd, "upload": upload, "burst": burst, "upstream": upstream, "delay": delay, "limit": limit,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("which command? See the top of main.go")
	}
	return commands[args[0]](ctx, args[1:])
}

// parse reads the flags that set declares, and wants nothing besides.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s: what is %q?", flags.Name(), flags.Arg(0))
	}
	return nil
}

func report(result any) error { return json.NewEncoder(os.Stdout).Encode(result) }

// htpasswd prints a line of a password file.
func htpasswd(_ context.Context, args []string) error {
	var cost int
	if len(args) != 3 {
		return errors.New("htpasswd wants NAME PASSWORD COST")
	}
	if _, err := fmt.Sscan(args[2], &cost); err != nil {
		return fmt.Errorf("cost %q: %w", args[2], err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(args[1]), cost)
	if err != nil {
		return err
	}
	// The letter after $2 tells of repaired bugs in C; Apache and Python's libraries want the y.
	_, err = fmt.Fprintf(os.Stdout, "%s:$2y%s\n", args[0], hash[3:])
	return err
}
