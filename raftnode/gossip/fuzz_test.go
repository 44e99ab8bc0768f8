package gossip

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Would catch hearsay that crashes a node, or that it would pass on as something else.
func FuzzDecodeAddresses(f *testing.F) {
	for _, a := range []Addresses{{}, {Bus: "10.0.0.1:4200", Client: "[::1]:4100"}} {
		b, err := a.encode()
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAddresses(data)
		if err != nil {
			require.ErrorIs(t, err, errMalformed)
			return
		}
		b, err := a.encode()
		if len(data) <= 512 { // more is never heard
			require.NoError(t, err)
			require.Equal(t, data, b)
		}
	})
}
