package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	engine "github.com/ory/dockertest/v3/docker"
)

// readLog writes the last lines that a container wrote, on both streams; tail is their number, or
// "all".
func readLog(ctx context.Context, c *engine.Client, container, tail string, w io.Writer) error {
	return c.Logs(engine.LogsOptions{
		Context: ctx, Container: container, Tail: tail, Stdout: true, Stderr: true, OutputStream: w, ErrorStream: w,
	})
}

// lastLines are the last lines of a container's log, as far as it can be read: enough for a stack
// trace.
func lastLines(ctx context.Context, c *engine.Client, container string) []string {
	var text bytes.Buffer
	_ = readLog(ctx, c, container, "100", &text)
	return strings.Split(strings.TrimSpace(text.String()), "\n")
}

// download copies a directory out of a container.
func download(ctx context.Context, c *engine.Client, container, source, target string) error {
	packed, unpacked := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := unpack(packed, target)
		// The engine must be able to send what follows the archive's end.
		_, drained := io.Copy(io.Discard, packed)
		done <- errors.Join(err, drained)
	}()
	err := c.DownloadFromContainer(container, engine.DownloadFromContainerOptions{Context: ctx, Path: source, OutputStream: unpacked})
	_ = unpacked.CloseWithError(err)
	return errors.Join(err, <-done)
}

// unpack writes the regular files of an archive, less the first element of each name, into target
// and nowhere else.
func unpack(archive io.Reader, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(target)
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(archive); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, inside := strings.Cut(strings.TrimPrefix(path.Clean(header.Name), "/"), "/")
		if !inside || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := writeFile(root, filepath.FromSlash(name), r); err != nil {
			return err
		}
	}
}

func writeFile(root *os.Root, name string, content io.Reader) (err error) {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, content)
	return err
}
