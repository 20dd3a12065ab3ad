package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"curdling/internal/manual"
)

// newMan is for those who package curd, and so hidden.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "write the manual pages of all commands into a folder",
		Hidden: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name the folder for the manual pages")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return err
			}
			return manual.Write(cmd.Root(), args[0])
		},
	}
}
