package docker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	engine "github.com/ory/dockertest/v3/docker"
)

// CleanOptions widen what Clean removes.
type CleanOptions struct {
	Force  bool // also what belongs to runs that are alive, or started on another machine
	Images bool // also the images that Start built, unless they are in use
}

// Clean removes what runs left behind whose owner is dead, and returns what it removed.
func Clean(ctx context.Context, o CleanOptions) ([]string, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	removed, err := remove(ctx, c, func(labels map[string]string) bool { return o.Force || orphaned(labels) })
	if err != nil || !o.Images {
		return removed, err
	}
	more, err := removeImages(ctx, c)
	return append(removed, more...), err
}

// remove takes away the containers, with their volumes, and the networks of the runs that which
// accepts by their labels. What vanishes meanwhile is none of its concern.
func remove(ctx context.Context, c *engine.Client, which func(labels map[string]string) bool) (removed []string, err error) {
	found, err := c.ListContainers(engine.ListContainersOptions{
		All: true, Filters: map[string][]string{"label": {labelRun}}, Context: ctx,
	})
	if err != nil {
		return nil, fmt.Errorf("docker: list the containers: %w", err)
	}
	var mu sync.Mutex
	var failures []error
	note := func(what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			removed = append(removed, what)
		} else if !gone(err) {
			failures = append(failures, fmt.Errorf("docker: remove the %s: %w", what, err))
		}
	}
	var group sync.WaitGroup
	for _, container := range found {
		if which(container.Labels) {
			group.Go(func() {
				note("container "+container.Names[0][1:], c.RemoveContainer(engine.RemoveContainerOptions{
					ID: container.ID, Force: true, RemoveVolumes: true, Context: ctx,
				}))
			})
		}
	}
	group.Wait()
	networks, err := c.FilteredListNetworks(engine.NetworkFilterOpts{"label": {labelRun: true}})
	if err != nil {
		failures = append(failures, fmt.Errorf("docker: list the networks: %w", err))
	}
	for _, network := range networks {
		if which(network.Labels) {
			note("network "+network.Name, await(ctx, func() error { return c.RemoveNetwork(network.ID) }))
		}
	}
	return removed, errors.Join(failures...)
}

func removeImages(ctx context.Context, c *engine.Client) (removed []string, err error) {
	found, err := c.ListImages(engine.ListImagesOptions{Filters: map[string][]string{"label": {labelImage}}, Context: ctx})
	if err != nil {
		return nil, fmt.Errorf("docker: list the images: %w", err)
	}
	var failures []error
	for _, image := range found {
		for _, tag := range image.RepoTags {
			err := await(ctx, func() error { return c.RemoveImage(tag) })
			if inUse := (*engine.Error)(nil); errors.As(err, &inUse) && inUse.Status == 409 || gone(err) {
				continue
			}
			if err != nil {
				failures = append(failures, fmt.Errorf("docker: remove the image %s: %w", tag, err))
				continue
			}
			removed = append(removed, "image "+tag)
		}
	}
	return removed, errors.Join(failures...)
}
