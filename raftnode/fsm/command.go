package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Op is what a command does.
type Op uint8

// The operations. The values are written to logs: never renumber.
const (
	Write        Op = 1 // set Key to Value
	CAS          Op = 2 // set Key to Value if it holds Expect
	Delete       Op = 3 // remove Key
	OpenSession  Op = 4 // begin a session, whose ID is the index of the entry
	CloseSession Op = 5 // end Session
	Clock        Op = 6 // it is Now
)

// Command is one change of the state. An operation's encoding has the fields that it uses and no others.
type Command struct {
	Op     Op
	Key    string // Write, CAS, Delete
	Value  string // Write, CAS
	Expect string // CAS

	// Session makes a Write, CAS or Delete part of a session, in which it is executed at most once however often it
	// is in the log; 0 for none. For CloseSession it is the session to end.
	Session uint64
	// Sequence, within Session, numbers its commands from 1. They may come in any order.
	Sequence uint64
	// Acked, within Session: the client has the answers of all sequences up to it, and will not ask
	// for them again.
	Acked uint64

	TTL uint64 // OpenSession: the session ends when it is not used for longer than this, in log time
	Now uint64 // Clock: the log time, which never falls
}

// ErrDamaged says that an entry's data is no command.
var ErrDamaged = errors.New("fsm: damaged command")

// inSession marks the operation of a command that names a session.
const inSession = 0x80

// Encode is the command as log entries hold it: the operation, the place in a session, then what the
// operation takes, numbers as varints and texts behind their lengths.
func (c Command) Encode() []byte {
	data := make([]byte, 1, 1+6*binary.MaxVarintLen32+len(c.Key)+len(c.Value)+len(c.Expect))
	data[0] = byte(c.Op)
	switch c.Op {
	case OpenSession:
		return binary.AppendUvarint(data, c.TTL)
	case CloseSession:
		return binary.AppendUvarint(data, c.Session)
	case Clock:
		return binary.AppendUvarint(data, c.Now)
	case Write, CAS, Delete:
	default:
		// No node could apply it once it is in the log.
		panic(fmt.Sprintf("fsm: unknown operation %d", c.Op))
	}
	if c.Session != 0 {
		data[0] |= inSession
		data = binary.AppendUvarint(data, c.Session)
		data = binary.AppendUvarint(data, c.Sequence)
		data = binary.AppendUvarint(data, c.Acked)
	}
	data = appendText(data, c.Key)
	if c.Op != Delete {
		data = appendText(data, c.Value)
	}
	if c.Op == CAS {
		data = appendText(data, c.Expect)
	}
	return data
}

// Decode reads what Encode wrote, and nothing else: errors are ErrDamaged.
func Decode(data []byte) (Command, error) {
	if len(data) == 0 {
		return Command{}, fmt.Errorf("%w: it is empty", ErrDamaged)
	}
	var c Command
	in := reader{data: data[1:]}
	switch op := Op(data[0]); op {
	case OpenSession:
		c = Command{Op: op, TTL: in.number()}
	case CloseSession:
		c = Command{Op: op, Session: in.number()}
	case Clock:
		c = Command{Op: op, Now: in.number()}
	default:
		if c.Op = op &^ inSession; c.Op < Write || c.Op > Delete {
			return Command{}, fmt.Errorf("%w: unknown operation %d", ErrDamaged, op)
		}
		if op&inSession != 0 {
			c.Session, c.Sequence, c.Acked = in.number(), in.number(), in.number()
			if c.Session == 0 {
				in.refuse("it names a session without a number")
			}
		}
		c.Key = string(in.text())
		if c.Op != Delete {
			c.Value = string(in.text())
		}
		if c.Op == CAS {
			c.Expect = string(in.text())
		}
	}
	switch {
	case in.short:
		return Command{}, fmt.Errorf("%w: it is cut short", ErrDamaged)
	case in.fault != "":
		return Command{}, fmt.Errorf("%w: %s", ErrDamaged, in.fault)
	case len(in.data) > 0:
		return Command{}, fmt.Errorf("%w: %d bytes too many", ErrDamaged, len(in.data))
	}
	return c, nil
}
