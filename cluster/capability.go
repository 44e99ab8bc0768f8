package cluster

// Capability is one thing that an environment needs of the machine, as it was found by trying it.
type Capability struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Optional bool   `json:"optional,omitempty"` // only some faults, or none yet, need it
	Detail   string `json:"detail"`             // what was found, or how the attempt failed
	Remedy   string `json:"remedy,omitempty"`   // what a person can do about it; empty when OK
}
