package sim

// Reached counts what happened in a world: what a campaign never reaches, it has not tested.
type Reached struct {
	Events     int `json:"events"`
	Messages   int `json:"messages"` // delivered
	Operations int `json:"operations"`

	Elections int `json:"elections"` // terms with a leader
	Truncated int `json:"truncated"` // suffixes of a log that were overwritten

	SnapshotsTaken     int `json:"snapshots_taken"`
	SnapshotsInstalled int `json:"snapshots_installed"`
	Compactions        int `json:"compactions"` // of a log

	Changes              int `json:"changes"`  // of members, asked of a node
	Changed              int `json:"changed"`  // of these, answered as done
	Joint                int `json:"joint"`    // joint configurations appended by a leader
	Islands              int `json:"islands"`  // leaders cut off and asked to remove all others
	Stranded             int `json:"stranded"` // nodes cut off with nothing but a snapshot
	LeadersKilledInJoint int `json:"leaders_killed_in_joint"`
	Removed              int `json:"removed"` // nodes proven to be no member
	Wiped                int `json:"wiped"`   // of these

	Rejoins int `json:"rejoins"` // of these, at once, while answers to the earlier member are under way

	Eclipses int `json:"eclipses"` // leaders cut off from the others and not from clients
	Probes   int `json:"probes"`   // operations of clients then

	Transfers int `json:"transfers"`  // begun
	StepDowns int `json:"step_downs"` // likewise
	Exits     int `json:"exits"`      // of leaders whose reign was over

	IndexReads    int `json:"index_reads"`     // linearizable ones, answered by a leader that asked a quorum
	LeaseReads    int `json:"lease_reads"`     // answered by a leader by its lease
	FollowerReads int `json:"follower_reads"`  // answered by another voter or learner
	StaleReads    int `json:"stale_reads"`     // answered by a node for itself
	ReadOnlyReads int `json:"read_only_reads"` // of these, by a read-only peer

	Sessions int `json:"sessions"` // opened
	Expired  int `json:"expired"`  // commands refused because their session had ended
	Retried  int `json:"retried"`  // commands of a session that were sent again
	Repeated int `json:"repeated"` // of these, found to have been executed before

	Lost              int `json:"lost"`                // messages
	Duplicated        int `json:"duplicated"`          // messages
	Held              int `json:"held"`                // messages, for long
	Shut              int `json:"shut"`                // links that failed by themselves
	LaterTerm         int `json:"later_term"`          // requests delivered in a later term of the receiver than they were sent in
	LaterLife         int `json:"later_life"`          // messages delivered to another process than they were sent to
	Crashes           int `json:"crashes"`             // all
	CrashesInWrite    int `json:"crashes_in_write"`    // before what was written was durable
	CrashesBeforeSent int `json:"crashes_before_sent"` // it was durable, and not all that follows had been said
	LostWrites        int `json:"lost_writes"`         // unsynced, by crashes
	TornWrites        int `json:"torn_writes"`         // several unsynced, of which a crash left some
	FailedSyncs       int `json:"failed_syncs"`
	SlowSyncs         int `json:"slow_syncs"`
	FullDisks         int `json:"full_disks"`
	FlippedBitsFound  int `json:"flipped_bits_found"` // on disks, at the next start; all of them, or the run fails
	DisksLost         int `json:"disks_lost"`         // with all that was on them
	Pauses            int `json:"pauses"`
	Restarts          int `json:"restarts"`
}
