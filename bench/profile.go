package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profile has a node's profiler watch it for a while, and tells when what it saw is in a file, for `go tool pprof`.
func profile(ctx context.Context, node address, duration time.Duration, file string) (done func() error) {
	ended := make(chan error, 1)
	go func() {
		ended <- fetch(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", loopback(node.fourth), max(1, int(duration.Seconds()))), file)
	}()
	return func() error { return <-ended }
}

// fetch puts what is at a URL into a file.
func fetch(ctx context.Context, url, file string) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	_, err = io.Copy(to, response.Body)
	return err
}

// profileFile is where the profile of a cell goes.
func (l load) profileFile(p product, what cell) string {
	return filepath.Join(l.profiles, fmt.Sprintf("%s-%d-%d-%s.pb.gz", p.name(), what.nodes, what.clients, what.operation))
}
