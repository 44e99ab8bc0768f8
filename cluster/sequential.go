package cluster

// Sequential is a cluster under virtual time. All that is asked of it is done when the call returns,
// and no time passes meanwhile: it is called from one goroutine, and there is nothing to wait for.
type Sequential interface {
	Sequential() bool
}

// IsSequential tells whether the cluster is one.
func IsSequential(c Cluster) bool {
	s, ok := c.(Sequential)
	return ok && s.Sequential()
}
