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

// imageOfNode holds raftnode, imageOfAgent the suite's own binary.
func imageOfNode(binary string) image {
	return image{"raftnode", nodeDockerfile, binary, "raftnode"}
}

func imageOfAgent(binary string) image { return image{"agent", agentDockerfile, binary, "coup"} }

// ensure builds the image unless the engine has it, and returns its tag.
func (i image) ensure(ctx context.Context, c *engine.Client, progress func(string, ...any)) (string, error) {
	if err := static(i.binary); err != nil {
		return "", err
	}
	content, err := os.ReadFile(i.binary)
	if err != nil {
		return "", err
	}
	tag := i.tag(content)
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

// tag names the image by what is in it.
func (i image) tag(content []byte) string {
	hash := sha256.New()
	hash.Write(i.dockerfile)
	hash.Write(content)
	return fmt.Sprintf("coup/%s:%x", i.name, hash.Sum(nil)[:8])
}

// RemoveImages removes the images that were made of these two binaries, if there are any.
func RemoveImages(ctx context.Context, node, agent string) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	for _, i := range []image{imageOfNode(node), imageOfAgent(agent)} {
		content, err := os.ReadFile(i.binary)
		if err != nil {
			return err
		}
		if err := c.RemoveImage(i.tag(content)); err != nil && !errors.Is(err, engine.ErrNoSuchImage) {
			return fmt.Errorf("docker: remove %s: %w", i.tag(content), err)
		}
	}
	return nil
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
