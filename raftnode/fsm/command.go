package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrDamaged says that an entry's data is no command.
var ErrDamaged = errors.New("fsm: damaged command")

// Encode is the command as log entries hold it: the operation, then key, value and expectation, each
// behind its length.
func (c Command) Encode() []byte {
	data := make([]byte, 1, 1+3*binary.MaxVarintLen32+len(c.Key)+len(c.Value)+len(c.Expect))
	data[0] = byte(c.Op)
	for _, s := range []string{c.Key, c.Value, c.Expect} {
		data = binary.AppendUvarint(data, uint64(len(s)))
		data = append(data, s...)
	}
	return data
}

// Decode reads what Encode wrote, and nothing else: errors are ErrDamaged.
func Decode(data []byte) (Command, error) {
	if len(data) == 0 {
		return Command{}, fmt.Errorf("%w: it is empty", ErrDamaged)
	}
	c := Command{Op: Op(data[0])}
	if c.Op < Write || c.Op > Delete {
		return Command{}, fmt.Errorf("%w: unknown operation %d", ErrDamaged, c.Op)
	}
	data = data[1:]
	for _, field := range []*string{&c.Key, &c.Value, &c.Expect} {
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return Command{}, fmt.Errorf("%w: it is cut short", ErrDamaged)
		}
		if n > 1 && data[n-1] == 0 {
			return Command{}, fmt.Errorf("%w: a length has more bytes than it needs", ErrDamaged)
		}
		*field = string(data[n : n+int(length)])
		data = data[n+int(length):]
	}
	if len(data) > 0 {
		return Command{}, fmt.Errorf("%w: %d bytes too many", ErrDamaged, len(data))
	}
	return c, nil
}
