package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"curdling/internal/config"
	"curdling/internal/curd"
	"curdling/internal/lazyregexp"
	"curdling/internal/record"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key COMMAND",
		Short: "make the keys with which builds are signed and trusted",
		Long: `Make the keys with which builds are signed and trusted. Who may upload to a cache server may
run code on all machines that take builds from it. With keys only who holds one can:

  1. curd key new ci              on the machine that builds for the others. It prints the
                                  public key; the signing key stays in its file.
  2. sign-key = "FILE"            in the curd.toml of that machine, or CURD_SIGN_KEY in the
                                  secrets of its jobs: what it uploads (-u) is signed.
  3. trust = ["ci+1a2b3c4d+..."]  in the curd.toml of all others: of the builds of cache
                                  servers they use those alone that are signed with it.

To change a key, without a day on which builds are refused:

  1. curd key new ci-2026, and add its public key to trust, beside the old one, everywhere;
  2. then have sign-key name the new one. What was built before is signed anew with
     curd upload --sign-key NEW URL FOLDER, from a folder of wheels with their records;
  3. then take the old key out of trust: from that moment nothing counts that it signed.

A key that leaked is taken out of trust at once. Builds that it alone signed are made again.`,
		Example: `  curd key new ci
  curd key show ~/.config/curd/ci.key
  curd key show ~/.config/curd/ci.key >> trusted-keys.txt && curd install --trust trusted-keys.txt flask`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q for \"curd key\"", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyNew(), newKeyShow())
	return cmd
}

// keyName is what a key may be called: its name stands in keys, signatures and file names.
var keyName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9@._-]{0,99}$`)

func newKeyNew() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "new [flags] NAME",
		Short: "make a key to sign builds with",
		Long: `Make an ed25519 key to sign builds with. The signing key goes into a file that only you can
read, beside your curd.toml: ~/.config/curd/NAME.key. What is there is never overwritten. The public
key is printed: it is what --trust takes. NAME, such as ci or builds@example.org, is shown to those who
see what it signed; it makes two keys easy to tell apart, and proves nothing.

A build runs the code of others as the same user, which may read the file. Where that must not
be, build without the key (curd wheel -w FOLDER), and sign in a job of its own (curd upload --sign-key).

Exit status: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  curd key new ci
  curd key new -o /etc/curd/builds.key builds@example.org
  curd key new -o - ci > /run/secrets/curd     (the public key goes to standard error)`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !keyName.MatchString(args[0]) {
				return usageError{errors.New("give the key one name, of letters, digits and @._-")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return makeKey(cmd, args[0], output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the signing key to `FILE`; - is standard output (default ~/.config/curd/NAME.key)")
	return cmd
}

func makeKey(cmd *cobra.Command, name, output string) error {
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	if output == "-" {
		fmt.Fprintln(cmd.ErrOrStderr(), public)
		_, err := fmt.Fprintln(cmd.OutOrStdout(), secret)
		return err
	}
	if output == "" {
		dir, err := config.UserDir()
		if err != nil {
			return fmt.Errorf("%w; name a file with -o", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		output = filepath.Join(dir, name+".key")
	}
	if err := writeSecret(output, "# The key "+name+" that signs builds (curd key). Whoever reads it can sign in its name.\n"+secret+"\n"); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "curd: the signing key is in %s; the public key is\n", output)
	_, err = fmt.Fprintln(cmd.OutOrStdout(), public)
	return err
}

// writeSecret writes a file that only its owner can read, and that was not there.
func writeSecret(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and keys are not overwritten: name another file with -o, or give the key another name", path)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func newKeyShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "print the public half of a signing key",
		Long: `Print the public half of the signing key in a file: what --trust takes.

Exit status: 0 done, 1 the file has no signing key, 2 wrong usage.`,
		Example: `  curd key show ~/.config/curd/ci.key`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name the file of one signing key")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := curd.ReadSecretKey(args[0])
			if err != nil {
				return err
			}
			public, err := record.VerifierKey(secret)
			if err != nil {
				return fmt.Errorf("%s is no signing key of 'curd key new': %w", args[0], err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), public)
			return err
		},
	}
}
