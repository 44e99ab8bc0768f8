package scenario

import "coup/sim"

// Verb describes what a statement begins with.
type Verb struct {
	Name    string   `json:"name"`
	Usage   []string `json:"usage"` // its forms
	Text    string   `json:"text"`
	Example []string `json:"example"` // lines that follow one another, in a cluster of three that has a leader
}

// Name describes something that can be seen of a world. NODE and CLIENT in a pattern stand for whatever names some, a *
// for a word (a key, a node, a kind of message) and a # for a number.
type Name struct {
	Pattern string `json:"pattern"`
	Kind    string `json:"kind"` // text, number, flag, nodes or list
	Text    string `json:"text"`
	Set     bool   `json:"set"` // it can be set
}

// Word describes a word that picks nodes or messages.
type Word struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Setting describes what a cluster may be begun with.
type Setting struct {
	Name  string `json:"name"`
	Least int    `json:"least"`
	Most  int    `json:"most"`
	Text  string `json:"text"`
}

// Verbs are all verbs, in the order in which they are told of.
func Verbs() (all []Verb) {
	for _, v := range verbs() {
		all = append(all, Verb{v.name, v.usage, v.help, examples[v.name]})
	}
	return all
}

// Names are all names, by what they begin with.
func Names() (all []Name) {
	for _, of := range []struct {
		prefix string
		owner  owner
	}{{"NODE.", ownerNode}, {"cluster.", ownerCluster}, {"messages.", ownerMessages}, {"CLIENT.", ownerClient}, {"settings.", ownerSettings}} {
		for _, f := range fields(of.owner) {
			all = append(all, Name{of.prefix + f.name, f.kind.String(), f.doc, f.set != nil})
		}
	}
	return all
}

// NodeWords are the words that pick nodes, beside their numbers and names.
func NodeWords() (all []Word) {
	for _, g := range groups {
		all = append(all, Word{g.name, g.doc})
	}
	return all
}

// MessageKinds are the kinds of messages.
func MessageKinds() (all []Word) {
	for _, k := range messageKinds {
		all = append(all, Word{k.name, k.doc})
	}
	return all
}

// Settings are what a cluster may be begun with.
func Settings() (all []Setting) {
	for _, k := range clusterSettings {
		all = append(all, Setting{k.name, k.least, k.most, k.doc})
	}
	return all
}

// Writes are the kinds of writes to a node's disk.
func Writes() []string { return sim.Writes() }

// Checks are what a world may fail by.
func Checks() []string { return append([]string{}, checks...) }

func (k kind) String() string {
	return [...]string{kindText: "text", kindNumber: "number", kindFlag: "flag", kindNodes: "nodes", kindList: "list"}[k]
}

// examples are lines for each verb, in a cluster of three that has a leader.
var examples = map[string][]string{
	"cluster":   {"cluster of 5 with seed 7, electionTicks 20"},
	"new":       {"new raft-3", "client add raft-3 as learner"},
	"tick":      {"tick 2", "tick until leader.commit >= 1 within 20"},
	"check":     {"check cluster.hasLeader and leader.log.lastIndex >= 1"},
	"client":    {"client write colour green", "tick 5", "client read colour"},
	"try":       {"crash leader", "try client foo expecting leader"},
	"perhaps":   {"perhaps client foo at follower"},
	"set":       {"set follower.leaderTimeout to 0"},
	"let":       {"let old be leader", "isolate old", "tick until old.state is not leader"},
	"campaign":  {"campaign follower", "tick 3"},
	"cut":       {"cut leader to followers"},
	"isolate":   {"isolate leader"},
	"partition": {"partition leader | others"},
	"heal":      {"isolate leader", "tick 40", "heal"},
	"drop":      {"drop every append from leader", "client foo", "tick 5"},
	"hold":      {"hold next 2 append", "client foo", "tick", "release"},
	"duplicate": {"duplicate next append", "client foo", "tick 3"},
	"delay":     {"delay every heartbeat by 3"},
	"deliver":   {"client foo", "deliver append", "deliver all"},
	"release":   {"hold every append", "client foo", "tick 3", "release append"},
	"give":      {"drop next append to 0", "client foo", "give up leader to 0"},
	"crash":     {"crash leader before log", "client foo"},
	"start":     {"crash leader", "start down"},
	"wipe":      {"let gone be follower", "client remove gone", "tick 10", "crash gone", "wipe gone", "start gone", "client add gone"},
	"pause":     {"pause leader", "tick 40"},
	"resume":    {"let old be leader", "pause old", "tick 40", "resume old"},
	"fail":      {"fail log of leader", "client foo"},
	"hang":      {"hang log of leader", "client foo", "tick 3"},
	"flush":     {"hang log of leader", "client foo", "tick 3", "flush leader"},
	"corrupt":   {"client foo", "tick 5", "crash follower", "corrupt down"},
	"print":     {"print logs", "print leader.peers.0.match"},
	"expect":    {"expect violation I16"},
	"end":       {"end without healing"},
}
