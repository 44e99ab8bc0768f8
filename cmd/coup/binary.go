package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// nodeBinary finds the raftnode binary: the one given, or the one beside this program. It must be a
// static Linux program, since nodes run where there is no loader and no library.
func nodeBinary(given string) (string, error) {
	path := given
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find this program: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "raftnode")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the raftnode binary: %w", err)
	}
	if err := checkStatic(path); err != nil {
		return "", err
	}
	return path, nil
}

// checkStatic tells whether path is a static Linux program.
func checkStatic(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no raftnode binary at %s: run `make build`, or say where it is with --raftnode", path)
	case err != nil:
		return fmt.Errorf("raftnode binary: %w", err)
	case info.IsDir():
		return fmt.Errorf("%s is a folder: --raftnode takes the path of the raftnode binary", path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable: `chmod +x` it, or run `make build`", path)
	}
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is not a Linux program: build it with `make build`", path)
	}
	defer file.Close()
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically and would not start in a container FROM scratch: build it with CGO_ENABLED=0, as `make build` does", path)
		}
	}
	return nil
}
