package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"coup": func() { os.Exit(execute(os.Args[1:])) },
		// A program that is static, executable, and no node at all.
		"raftnode": func() { os.Exit(7) },
	})
}

// Catches a wrong command line that starts something, one that is refused with the wrong code, and
// a refusal that does not say what to do.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// code N COMMAND...: the exit code must be N.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := "0"
				if exit, ok := err.(interface{ ExitCode() int }); ok {
					got = fmt.Sprint(exit.ExitCode())
				}
				if got != args[0] {
					ts.Fatalf("exit code %s, want %s", got, args[0])
				}
			},
		},
	})
}

// Catches a binary that would fail in a container only when the cluster is started.
func TestCheckStatic(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755))
	plain := filepath.Join(dir, "plain")
	require.NoError(t, os.WriteFile(plain, []byte("x"), 0o644))
	for _, test := range []struct{ path, want string }{
		{filepath.Join(dir, "missing"), "make build"},
		{dir, "is a folder"},
		{plain, "is not executable"},
		{text, "is not a Linux program"},
	} {
		require.ErrorContains(t, checkStatic(test.path), test.want)
	}
}
