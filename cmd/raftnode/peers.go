package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"coup/raftnode/gossip"
	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// ports are where a node listens on its host.
type ports struct{ bus, http, gossip int }

// defaultPorts are those of a node that is told no others.
var defaultPorts = ports{bus: 4200, http: 4100, gossip: 4300}

// peer is where a node is.
type peer struct {
	host string
	ports
}

func (p peer) busAddress() string    { return net.JoinHostPort(p.host, strconv.Itoa(p.bus)) }
func (p peer) httpAddress() string   { return net.JoinHostPort(p.host, strconv.Itoa(p.http)) }
func (p peer) gossipAddress() string { return net.JoinHostPort(p.host, strconv.Itoa(p.gossip)) }

// String is the peer in the form in which parsePlace reads it, and a configuration holds it.
func (p peer) String() string {
	return net.JoinHostPort(p.host, fmt.Sprintf("%d/%d/%d", p.bus, p.http, p.gossip))
}

// addresses are where the peer is reached.
func (p peer) addresses() gossip.Addresses {
	return gossip.Addresses{Bus: p.busAddress(), Client: p.httpAddress()}
}

// parsePeers reads a list of ID=HOST[:BUS[/HTTP[/GOSSIP]]], separated by commas. An IPv6 address is
// in brackets. Ports that are not given are those of own.
func parsePeers(list string, own ports) (map[raft.NodeID]peer, error) {
	peers := make(map[raft.NodeID]peer)
	for item := range strings.SplitSeq(list, ",") {
		id, place, found := strings.Cut(strings.TrimSpace(item), "=")
		if !found {
			return nil, fmt.Errorf("%q is not of the form ID=HOST[:BUS[/HTTP[/GOSSIP]]]", item)
		}
		if err := checkID(id); err != nil {
			return nil, err
		}
		if _, twice := peers[raft.NodeID(id)]; twice {
			return nil, fmt.Errorf("%s is named twice", id)
		}
		p, err := parsePlace(place, own)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		peers[raft.NodeID(id)] = p
	}
	return peers, nil
}

func parsePlace(place string, own ports) (peer, error) {
	p := peer{ports: own}
	if inner, bracketed := strings.CutPrefix(place, "["); bracketed && strings.HasSuffix(inner, "]") {
		p.host = strings.TrimSuffix(inner, "]")
	} else if !strings.Contains(place, ":") {
		p.host = place
	} else {
		host, numbers, err := net.SplitHostPort(place)
		if err != nil {
			return peer{}, err
		}
		p.host = host
		fields := strings.Split(numbers, "/")
		into := []*int{&p.bus, &p.http, &p.gossip}
		if len(fields) > len(into) {
			return peer{}, fmt.Errorf("%q has more ports than bus, HTTP and gossip", place)
		}
		for i, field := range fields {
			if *into[i], err = parsePort(field); err != nil {
				return peer{}, err
			}
		}
	}
	if p.host == "" || strings.ContainsAny(p.host, "/[]=,") || strings.ContainsFunc(p.host, notInHost) {
		return peer{}, fmt.Errorf("%q names no host", place)
	}
	return p, nil
}

// notInHost tells what can be in no host's name, and would end it where a configuration or a list is read.
func notInHost(r rune) bool { return r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r) }

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", s)
	}
	return int(n), nil
}

// checkID refuses what cannot name a node.
func checkID(id string) error {
	if id == "" || len(id) > wire.MaxNodeID || strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}) {
		return fmt.Errorf("%q cannot name a node: use letters, digits, '-', '_' and '.'", id)
	}
	return nil
}
