package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	_ "embed" // the Dockerfiles
	"errors"
	"fmt"
	"io"
	"os"

	engine "github.com/ory/dockertest/v3/docker"
)

//go:embed Dockerfile
var nodeDockerfile []byte

//go:embed agent.Dockerfile
var agentDockerfile []byte

// image is one static binary FROM scratch.
type image struct {
	name       string // coup/<name>:<hash of what is in it>
	dockerfile []byte
	binary     string // path of the binary here
	file       string // its name in the build context
}

// ensure builds the image unless the engine has it, and returns its tag.
func (i image) ensure(ctx context.Context, c *engine.Client, progress func(string, ...any)) (string, error) {
	if err := static(i.binary); err != nil {
		return "", err
	}
	content, err := os.ReadFile(i.binary)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	hash.Write(i.dockerfile)
	hash.Write(content)
	tag := fmt.Sprintf("coup/%s:%x", i.name, hash.Sum(nil)[:8])
	_, err = c.InspectImage(tag)
	if err == nil || !errors.Is(err, engine.ErrNoSuchImage) {
		return tag, err
	}
	progress("building the image %s", tag)
	buildContext, err := i.pack(content)
	if err != nil {
		return "", err
	}
	var output bytes.Buffer
	err = c.BuildImage(engine.BuildImageOptions{
		Name:           tag,
		Labels:         map[string]string{labelImage: i.name},
		RmTmpContainer: true, ForceRmTmpContainer: true,
		InputStream: buildContext, OutputStream: &output,
		Context: ctx,
	})
	if err != nil {
		return "", fmt.Errorf("docker: build %s: %w\n%s", tag, err, output.Bytes())
	}
	return tag, nil
}

func (i image) pack(content []byte) (io.Reader, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range []struct {
		name    string
		mode    int64
		content []byte
	}{{"Dockerfile", 0o644, i.dockerfile}, {i.file, 0o755, content}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return &packed, w.Close()
}

// static refuses a binary that would not run in an image FROM scratch.
func static(path string) error {
	binary, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("docker: %s is no Linux binary: %w", path, err)
	}
	defer binary.Close()
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("docker: %s is linked dynamically and cannot run in an image FROM scratch: build it with CGO_ENABLED=0", path)
		}
	}
	return nil
}
