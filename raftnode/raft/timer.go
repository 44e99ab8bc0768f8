package raft

// ElectionIn is after how many more ticks without word from a leader this node campaigns.
func (r *Raft) ElectionIn() int { return max(0, r.timeout-r.sinceHeard) }

// SetElectionIn sets ElectionIn, until the timer is next restarted: for drivers that decide when elections begin.
func (r *Raft) SetElectionIn(ticks int) { r.timeout = r.sinceHeard + ticks }
