package cluster

// Loser tells which nodes are lost for good: their disks are gone, or hold something else than was written. Such a
// node refuses to start, and must; nobody is to wait for it.
type Loser interface {
	Lost(node string) bool
}

// IsLost tells whether a node of the cluster is lost for good.
func IsLost(c Cluster, node string) bool {
	l, ok := c.(Loser)
	return ok && l.Lost(node)
}
