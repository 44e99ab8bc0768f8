package bus

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"coup/raftnode/allocation"
	"coup/raftnode/bus/buspb"
	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// frameOf is a frame as it is sent.
func frameOf(t testing.TB, messages ...raft.Message) []byte {
	frame := &buspb.Frame{}
	for _, m := range messages {
		frame.Messages = append(frame.Messages, wire.MessageToProto(m))
	}
	data, err := newCodec().Marshal(frame)
	require.NoError(t, err)
	return data.Materialize()
}

// messagesOf is what a node makes of a frame that it is sent.
func messagesOf(data []byte) (messages []raft.Message, err error) {
	var frame buspb.Frame
	if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, &frame); err != nil {
		return nil, err
	}
	messages = make([]raft.Message, len(frame.Messages))
	for i, p := range frame.Messages {
		if messages[i], err = wire.MessageFromProto(p); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// Would catch a frame that a stranger makes of two bytes a message or an entry, and that takes hundreds of times as much
// memory. The smallest messages and entries that a node sends must pass.
func TestFrameTakesMemoryByItsSize(t *testing.T) {
	smallest := raft.Message{Type: raft.MsgFetch, From: "a", To: "b", ID: 1}
	many := make([]raft.Message, 1000)
	for i := range many {
		many[i] = smallest
	}
	messages, err := messagesOf(frameOf(t, many...))
	require.NoError(t, err)
	require.Equal(t, many, messages)
	append1 := raft.Message{
		Type: raft.MsgAppend, From: "a", To: "b", ID: 1, Term: 1,
		Entries: []raft.Entry{{Index: 1, Term: 1}, {Index: 2, Term: 1, Type: raft.EntryNoOp, Checksum: 1}},
	}
	messages, err = messagesOf(frameOf(t, append1))
	require.NoError(t, err)
	require.Equal(t, []raft.Message{append1}, messages)

	const size = 1 << 20
	entries, err := proto.Marshal(&wire.Message{Type: wire.MessageType_APPEND, From: "a", To: "b", Term: 1, Id: 1})
	require.NoError(t, err)
	entries = append(entries, strings.Repeat("\x4a\x00", size/2)...)
	frame := protowire.AppendBytes(protowire.AppendTag(nil, fieldMessages, protowire.BytesType), entries)
	for name, data := range map[string][]byte{
		"empty messages": bytes.Repeat([]byte{0x0a, 0}, size/2),
		"empty entries":  frame,
	} {
		t.Run(name, func(t *testing.T) {
			var plain buspb.Frame
			without := allocation.Of(func() { require.NoError(t, proto.Unmarshal(data, &plain)) })
			require.Greater(t, without, uint64(50*size), "a test of nothing")
			with := allocation.Of(func() { _, err = messagesOf(data) })
			require.ErrorIs(t, err, errFrame)
			require.Less(t, with, uint64(4*size))
		})
	}
}

// Would catch bytes from a stranger that crash a node, take memory beyond their size, or mean something else once they are
// passed on.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0x0a, 0}, 100))
	f.Add(frameOf(f, raft.Message{Type: raft.MsgVote, From: "n1", To: "n2", Term: 3, ID: 1, Index: 2, LogTerm: 1}))
	f.Add(frameOf(f,
		raft.Message{Type: raft.MsgAppend, From: "n1", To: "n2", Term: 3, ID: 4, Entries: []raft.Entry{
			{Index: 1, Term: 3, Type: raft.EntryNoOp}, {Index: 2, Term: 3, Data: []byte("data"), Checksum: 9},
		}},
		raft.Message{Type: raft.MsgHeartbeatReply, From: "n2", To: "n1", Term: 3, ID: 4, ReadRound: 1, Epoch: 1},
	))
	f.Add(frameOf(f, raft.Message{
		Type: raft.MsgSnapshot, From: "n1", To: "n2", Term: 3, ID: 9, Epoch: 2, Chunk: raft.Chunk{Data: []byte("x"), Checksum: 5},
		Snapshot: &raft.Snapshot{
			Base: raft.Base{Index: 4, Term: 2, Configuration: raft.Configuration{
				Voters: []raft.NodeID{"n1", "n2"}, Addresses: map[raft.NodeID]string{"n1": "10.0.0.1"},
			}},
			Chunks: 1, ContentChecksum: 5,
		},
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var messages []raft.Message
		var err error
		took := allocation.Of(func() { messages, err = messagesOf(data) })
		require.LessOrEqual(t, took, uint64(100*len(data)+1<<20))
		if err != nil {
			return
		}
		again, err := messagesOf(frameOf(t, messages...))
		require.NoError(t, err)
		require.Equal(t, messages, again)
	})
}
