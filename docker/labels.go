package docker

import (
	"os"

	"coup/cluster"
)

// The labels of all that a run makes.
const (
	labelRun   = "coup.run"
	labelOwner = "coup.owner" // a cluster.Owner
	labelHost  = "coup.host"  // where the owner runs
	labelNode  = "coup.node"
	labelImage = "coup.image" // only on images, which outlive their run
)

func runLabels(run string) (map[string]string, error) {
	self, err := cluster.Self()
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return map[string]string{labelRun: run, labelOwner: self.String(), labelHost: host}, nil
}

// orphaned says whether the process that made something with these labels is known to be dead. Of a
// process on another machine nothing is known.
func orphaned(labels map[string]string) bool {
	host, err := os.Hostname()
	if err != nil || labels[labelHost] != host {
		return false
	}
	owner, err := cluster.ParseOwner(labels[labelOwner])
	return err == nil && !owner.Alive()
}
