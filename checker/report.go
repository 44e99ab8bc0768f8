package checker

// Report is the verdict of a run with what it rests on. It is what verdict.json holds.
type Report struct {
	Verdict Verdict  `json:"verdict"`
	Reasons []Reason `json:"reasons"` // strongest first; empty of a pass
	// Checkers are in the order in which a person should read them.
	Checkers        []Result              `json:"checkers"`
	Linearizability LinearizabilityResult `json:"linearizability"`
	Faults          []FaultCount          `json:"faults"`
	Coverage        Coverage              `json:"coverage"`
	Stats           Stats                 `json:"stats"`
	Recipe          *Recipe               `json:"recipe,omitempty"` // of a run that followed one
}

// Reason is why a verdict is not pass, in a sentence.
type Reason struct {
	Verdict Verdict  `json:"verdict"`
	Checker string   `json:"checker"`           // which found it
	Text    string   `json:"text"`              // a sentence with numbers
	Details []string `json:"details,omitempty"` // further lines, for those who want to know
}

// Result is how one checker ended.
type Result struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Summary string  `json:"summary"` // what it looked at, in a sentence with numbers
}

// The names of the checkers.
const (
	NameLinearizability = "linearizability"
	NameLeaders         = "leaders"
	NameVotes           = "votes"
	NameRevisions       = "revisions"
	NameAvailability    = "availability"
	NameCoverage        = "coverage"
	NameHarness         = "harness"
)

// FaultCount is how the attempts at one kind of fault ended.
type FaultCount struct {
	Fault         string   `json:"fault"`
	KeepsQuorum   bool     `json:"keeps_quorum"`
	Planned       int      `json:"planned"`
	Installed     int      `json:"installed"`
	Skipped       int      `json:"skipped"`
	Indeterminate int      `json:"indeterminate"`
	Healed        int      `json:"healed"`
	NotHealed     int      `json:"not_healed"`
	Reasons       []string `json:"reasons,omitempty"` // of what did not go well
	Verdict       Verdict  `json:"verdict"`           // Harness, Inconclusive or Pass
}
