package main

import (
	"fmt"
	"maps"
	"slices"

	"coup/raftnode/raft"
)

// disagreements are where the command line says something else than the stored configuration, which wins: the flags
// of a first start are easily left behind by later changes.
func (s settings) disagreements(c raft.Configuration) (found []string) {
	for _, id := range slices.Sorted(maps.Keys(s.peers)) {
		place, stored := s.peers[id].String(), c.Addresses[id]
		switch {
		case !c.Contains(id) && id != s.id:
			found = append(found, fmt.Sprintf("--peers names %s, which is no member", id))
		case stored != "" && stored != place && id != s.id:
			found = append(found, fmt.Sprintf("--peers has %s at %s, the configuration at %s", id, place, stored))
		}
	}
	for _, id := range c.Members() {
		if _, named := s.peers[id]; !named && id != s.id {
			found = append(found, fmt.Sprintf("%s is a member, and --peers does not name it", id))
		}
	}
	if stored := c.Addresses[s.id]; stored != "" && stored != s.self.String() {
		found = append(found, fmt.Sprintf("this node is reached at %s, and the configuration says %s; raftnode move %s=%[1]s corrects that",
			s.self, stored, s.id))
	}
	if c.Contains(s.id) && c.IsReadOnly(s.id) != (len(s.upstreams) > 0) {
		part := map[bool]string{true: "a read-only peer", false: "none"}[c.IsReadOnly(s.id)]
		found = append(found, fmt.Sprintf("--read-only says otherwise than the configuration, by which this node is %s", part))
	}
	return found
}
