package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"time"

	"coup/cluster"
	"coup/cluster/packet"
)

const namespacesRemedy = "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run as root"

// Available tells why the environment cannot be used on this machine; nil when it can.
func Available(ctx context.Context) error {
	for _, c := range Capabilities(ctx) {
		if !c.OK && !c.Optional {
			return fmt.Errorf("netns: %s: %s (%s)", c.Name, c.Detail, c.Remedy)
		}
	}
	return nil
}

// Capabilities tries in a throw-away process what the environment needs. Main must call Init.
func Capabilities(ctx context.Context) []cluster.Capability {
	found, err := tryInside(ctx)
	if err != nil {
		return []cluster.Capability{{Name: "namespaces", Detail: err.Error(), Remedy: namespacesRemedy}}
	}
	made := cluster.Capability{Name: "namespaces", OK: true, Detail: "user, network, mount and PID namespaces"}
	return append([]cluster.Capability{made}, found...)
}

func tryInside(ctx context.Context) ([]cluster.Capability, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out, failure bytes.Buffer
	child, err := startInside(forCheck, func(c *exec.Cmd) { c.Stdout, c.Stderr = &out, &failure })
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = child.Process.Kill() })
	defer stop()
	if err := child.Wait(); err != nil {
		return nil, errors.Join(ctx.Err(), fmt.Errorf("the trial inside failed: %w: %s", err, failure.Bytes()))
	}
	var found []cluster.Capability
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		return nil, fmt.Errorf("the trial inside answered nothing of use; does main call netns.Init? %w", err)
	}
	return found, nil
}

// check is the trial: it writes what it found and returns the exit code.
func check(w io.Writer) int {
	found := []cluster.Capability{
		report("proc", "a /proc of its own", "none needed: the machine's /proc is used instead", true, mountProc()),
		report("links", "a bridge and veth pairs that carry packets", "load the kernel modules bridge and veth; "+namespacesRemedy, false, tryLinks()),
	}
	if features, err := tryFeatures(); err == nil {
		found = append(found, features...)
	}
	if json.NewEncoder(w).Encode(found) != nil {
		return 1
	}
	return 0
}

func report(name, detail, remedy string, optional bool, err error) cluster.Capability {
	c := cluster.Capability{Name: name, OK: err == nil, Optional: optional, Detail: detail}
	if err != nil {
		c.Detail, c.Remedy = err.Error(), remedy
	}
	return c
}

// tryLinks joins two namespaces, cuts the link between them and restores it.
func tryLinks() (err error) {
	if err := loopbackUp(); err != nil {
		return err
	}
	n, err := newNetwork(2)
	defer func() { err = errors.Join(err, n.close()) }()
	if err != nil {
		return err
	}
	network := packet.NewNetwork(map[string]packet.Member{
		"n1": {Address: n.ports[0].address, Endpoint: n.ports[0].agent},
		"n2": {Address: n.ports[1].address, Endpoint: n.ports[1].agent},
	})
	ctx := context.Background()
	links := []cluster.Link{{From: "n1", To: "n2"}}
	if err := network.Settle(ctx, settleBound); err != nil {
		return err
	}
	if err := network.Cut(ctx, links); err != nil {
		return err
	}
	if p, err := network.Probe(ctx, links); err != nil || p[0].Received != 0 {
		return errors.Join(errors.New("packets cross a link that was cut"), err)
	}
	return network.Restore(ctx, links)
}
