package gossip

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"
)

// Addresses are where a node is reached, each as host:port. An empty one is not known.
type Addresses struct {
	Bus    string
	Client string // the HTTP API
}

// version begins every encoding.
const version = 1

var errMalformed = errors.New("gossip: malformed addresses")

// encode is a version byte and two strings, each after a byte with its length.
func (a Addresses) encode() ([]byte, error) {
	b := []byte{version}
	for _, s := range []string{a.Bus, a.Client} {
		if len(s) > 255 {
			return nil, fmt.Errorf("gossip: address %.40q... is too long", s)
		}
		b = append(append(b, byte(len(s))), s...)
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("gossip: addresses take %d bytes of at most %d", len(b), memberlist.MetaMaxSize)
	}
	return b, nil
}

func decodeAddresses(b []byte) (Addresses, error) {
	if len(b) == 0 || b[0] != version {
		return Addresses{}, errMalformed
	}
	b = b[1:]
	var fields [2]string
	for i := range fields {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return Addresses{}, errMalformed
		}
		fields[i] = string(b[1 : 1+int(b[0])])
		b = b[1+int(b[0]):]
		if !utf8.ValidString(fields[i]) {
			return Addresses{}, errMalformed
		}
	}
	if len(b) != 0 {
		return Addresses{}, errMalformed
	}
	return Addresses{Bus: fields[0], Client: fields[1]}, nil
}
