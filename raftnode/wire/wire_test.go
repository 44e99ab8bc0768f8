package wire

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"coup/raftnode/raft"
)

func ordinal(lo uint64) *rapid.Generator[uint64] { return rapid.Uint64Range(lo, MaxOrdinal) }

func drawData(t *rapid.T) []byte {
	data := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data")
	if len(data) == 0 {
		return nil
	}
	return data
}

func drawEntry(t *rapid.T, index, term uint64) raft.Entry {
	e := raft.Entry{
		Index:    index,
		Term:     term,
		Type:     raft.EntryType(rapid.IntRange(0, 2).Draw(t, "entry type")),
		Checksum: rapid.Uint32().Draw(t, "checksum"),
	}
	if e.Type != raft.EntryNoOp {
		e.Data = drawData(t)
	}
	return e
}

var nodeIDs = rapid.Map(rapid.StringN(1, 20, MaxNodeID), func(s string) raft.NodeID { return raft.NodeID(s) })

// drawMessage draws what a correct node may send: only the fields of its type, in their relations.
func drawMessage(t *rapid.T) raft.Message {
	ids := rapid.SliceOfNDistinct(nodeIDs, 2, 2, rapid.ID).Draw(t, "nodes")
	m := raft.Message{
		Type: raft.MessageType(rapid.IntRange(int(raft.MsgPreVote), int(raft.MsgFetchReply)).Draw(t, "type")),
		From: ids[0],
		To:   ids[1],
		Term: ordinal(1).Draw(t, "term"),
		ID:   rapid.Uint64().Draw(t, "id"),
	}
	has := fieldsOf[MessageType(m.Type)]
	if has&hasLogTerm != 0 && rapid.Bool().Draw(t, "log is not empty") {
		m.Index = rapid.Uint64Range(1, MaxOrdinal-10).Draw(t, "index")
		m.LogTerm = rapid.Uint64Range(1, m.Term).Draw(t, "log term")
	}
	if has&hasEntries != 0 {
		m.Checksum = rapid.Uint32().Draw(t, "checksum")
		term := max(m.LogTerm, 1)
		for i := range rapid.IntRange(0, 5).Draw(t, "entries") {
			term = rapid.Uint64Range(term, m.Term).Draw(t, "entry term")
			m.Entries = append(m.Entries, drawEntry(t, m.Index+uint64(i)+1, term))
		}
	}
	if has&hasCommit != 0 {
		m.Commit = ordinal(0).Draw(t, "commit")
	}
	if has&hasReject != 0 {
		m.Reject = rapid.Bool().Draw(t, "reject")
	}
	if has&hasConflict != 0 {
		m.Index = ordinal(0).Draw(t, "index")
		if m.Reject {
			m.ConflictIndex = ordinal(0).Draw(t, "conflict index")
			m.ConflictTerm = rapid.Uint64Range(0, m.Term).Draw(t, "conflict term")
		}
	}
	if has&hasReadRound != 0 {
		m.ReadRound = ordinal(0).Draw(t, "read round")
	}
	if has&hasEpoch != 0 {
		m.Epoch = ordinal(0).Draw(t, "epoch")
	}
	if has&hasTransfer != 0 {
		m.Transfer = rapid.Bool().Draw(t, "transfer")
	}
	if m.Type == raft.MsgSnapshotReply {
		m.Chunk.Number = ordinal(0).Draw(t, "wanted")
	}
	if m.Type == raft.MsgSnapshot || has&hasSnapshot != 0 && len(m.Entries) == 0 && m.Index == 0 && !m.Reject && rapid.Bool().Draw(t, "with a snapshot") {
		s := raft.Snapshot{
			Base: raft.Base{
				Index: ordinal(1).Draw(t, "snapshot index"), Term: rapid.Uint64Range(1, m.Term).Draw(t, "snapshot term"),
				Checksum: rapid.Uint32().Draw(t, "snapshot checksum"), Configuration: drawConfiguration(t),
			},
			Chunks: ordinal(1).Draw(t, "chunks"), ContentChecksum: rapid.Uint32().Draw(t, "content checksum"),
		}
		m.Snapshot = &s
		m.Chunk.Number = rapid.Uint64Range(0, s.Chunks-1).Draw(t, "chunk")
		if has&hasChunk != 0 {
			m.Chunk.Data, m.Chunk.Checksum = drawData(t), rapid.Uint32().Draw(t, "chunk checksum")
		}
	}
	return m
}

// drawConfiguration draws one that may be in force, joint or not.
func drawConfiguration(t *rapid.T) raft.Configuration {
	ids := rapid.SliceOfNDistinct(nodeIDs, 0, 8, rapid.ID).Draw(t, "members")
	slices.Sort(ids)
	joint := rapid.Bool().Draw(t, "joint")
	var c raft.Configuration
	for i, id := range ids {
		part := rapid.IntRange(0, 3).Draw(t, "part")
		old := joint && rapid.Bool().Draw(t, "old")
		if i == 0 {
			part, old = 0, joint
		}
		switch part {
		case 0:
			c.Voters = append(c.Voters, id)
		case 1:
			if old {
				c.LearnersNext = append(c.LearnersNext, id)
				break
			}
			c.Learners = append(c.Learners, id)
			if rapid.Bool().Draw(t, "to be promoted") {
				c.Promote = append(c.Promote, id)
			}
		case 2:
			c.ReadOnly = append(c.ReadOnly, id)
			old = false
		}
		if old {
			c.Outgoing = append(c.Outgoing, id)
		}
	}
	return c
}

// Would catch a field that one direction of the conversion forgets.
func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t, ordinal(1).Draw(t, "index"), ordinal(1).Draw(t, "term"))
		b, err := MarshalEntry(e)
		require.NoError(t, err)
		got, err := UnmarshalEntry(b)
		require.NoError(t, err)
		require.Equal(t, e, got)
	})
}

func TestHardStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hs := raft.HardState{Term: ordinal(0).Draw(t, "term")}
		if hs.Term > 0 && rapid.Bool().Draw(t, "voted") {
			hs.Vote = nodeIDs.Draw(t, "vote")
		}
		b, err := MarshalHardState(hs)
		require.NoError(t, err)
		got, err := UnmarshalHardState(b)
		require.NoError(t, err)
		require.Equal(t, hs, got)
	})
}

func TestBaseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := raft.Base{
			Checksum:      rapid.Uint32().Draw(t, "checksum"),
			Configuration: drawConfiguration(t),
		}
		if rapid.Bool().Draw(t, "compacted") {
			base.Index = ordinal(1).Draw(t, "index")
			base.Term = ordinal(1).Draw(t, "term")
		}
		b, err := MarshalBase(base)
		require.NoError(t, err)
		got, err := UnmarshalBase(b)
		require.NoError(t, err)
		require.Equal(t, base, got)
	})
}

func TestMessageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		b, err := proto.Marshal(MessageToProto(m))
		require.NoError(t, err)
		var p Message
		require.NoError(t, proto.Unmarshal(b, &p))
		got, err := MessageFromProto(&p)
		require.NoError(t, err)
		require.Equal(t, m, got)
	})
}

// Would catch a message that is believed although no correct node sends it.
func TestMessageFromProtoRefuses(t *testing.T) {
	appendMessage := func() *Message {
		return MessageToProto(raft.Message{
			Type: raft.MsgAppend, From: "n1", To: "n2", Term: 5, ID: 9, Index: 3, LogTerm: 2, Commit: 3, ReadRound: 1,
			Entries: []raft.Entry{{Index: 4, Term: 2, Data: []byte("a")}, {Index: 5, Term: 5, Type: raft.EntryNoOp}},
		})
	}
	rejection := func() *Message {
		return MessageToProto(raft.Message{
			Type: raft.MsgAppendReply, From: "n2", To: "n1", Term: 5, Index: 3, Reject: true, ConflictTerm: 2, ConflictIndex: 2,
		})
	}
	chunk := func() *Message {
		s := raft.Snapshot{Base: raft.Base{Index: 7, Term: 4, Configuration: raft.Configuration{Voters: []raft.NodeID{"n1"}}}, Chunks: 3, ContentChecksum: 1}
		return MessageToProto(raft.Message{
			Type: raft.MsgSnapshot, From: "n1", To: "n2", Term: 5, Epoch: 2, Snapshot: &s, Chunk: raft.Chunk{Number: 2, Data: []byte("x"), Checksum: 1},
		})
	}
	fed := func() *Message {
		m := chunk()
		m.Type, m.Epoch = MessageType_FETCH_REPLY, 0
		return m
	}
	for _, accepted := range []*Message{appendMessage(), rejection(), chunk(), fed()} {
		_, err := MessageFromProto(accepted)
		require.NoError(t, err)
	}
	long := string(make([]byte, MaxNodeID+1))
	for name, tt := range map[string]struct {
		of    func() *Message
		spoil func(*Message)
	}{
		"type missing":              {appendMessage, func(m *Message) { m.Type = 0 }},
		"type unknown":              {appendMessage, func(m *Message) { m.Type = 99 }},
		"type negative":             {appendMessage, func(m *Message) { m.Type = -251 }},
		"type that wraps to append": {appendMessage, func(m *Message) { m.Type = 256 + 5 }},
		"sender missing":            {appendMessage, func(m *Message) { m.From = "" }},
		"sender too long":           {appendMessage, func(m *Message) { m.From = long }},
		"sender not UTF-8":          {appendMessage, func(m *Message) { m.From = "\xff" }},
		"receiver missing":          {appendMessage, func(m *Message) { m.To = "" }},
		"to itself":                 {appendMessage, func(m *Message) { m.To = m.From }},
		"term missing":              {appendMessage, func(m *Message) { m.Term = 0 }},
		"term absurd":               {appendMessage, func(m *Message) { m.Term = MaxOrdinal + 1 }},
		"commit absurd":             {appendMessage, func(m *Message) { m.Commit = ^uint64(0) }},
		"round absurd":              {appendMessage, func(m *Message) { m.ReadRound = ^uint64(0) }},
		"log term missing":          {appendMessage, func(m *Message) { m.LogTerm = 0 }},
		"log term of the future":    {appendMessage, func(m *Message) { m.LogTerm = 6 }},
		"gap after index":           {appendMessage, func(m *Message) { m.Index = 2 }},
		"gap between entries":       {appendMessage, func(m *Message) { m.Entries[1].Index = 6 }},
		"entries out of order":      {appendMessage, func(m *Message) { slices.Reverse(m.Entries) }},
		"entry missing":             {appendMessage, func(m *Message) { m.Entries[0] = nil }},
		"entry without a term":      {appendMessage, func(m *Message) { m.Entries[0].Term = 0 }},
		"entry terms fall":          {appendMessage, func(m *Message) { m.Entries[0].Term = 1 }},
		"entry of the future":       {appendMessage, func(m *Message) { m.Entries[1].Term = 6 }},
		"entry type unknown":        {appendMessage, func(m *Message) { m.Entries[0].Type = 3 }},
		"entry type wraps":          {appendMessage, func(m *Message) { m.Entries[0].Type = 256 }},
		"no-op with data":           {appendMessage, func(m *Message) { m.Entries[1].Data = []byte("x") }},
		"append with reject":        {appendMessage, func(m *Message) { m.Reject = true }},
		"vote with entries":         {appendMessage, func(m *Message) { m.Type = MessageType_VOTE }},
		"unknown field": {appendMessage, func(m *Message) {
			m.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
		}},
		"unknown field of an entry": {appendMessage, func(m *Message) {
			m.Entries[0].ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
		}},
		"vote with an epoch":           {appendMessage, func(m *Message) { m.Type, m.Entries = MessageType_VOTE, nil }},
		"append that transfers":        {appendMessage, func(m *Message) { m.Transfer = true }},
		"epoch absurd":                 {appendMessage, func(m *Message) { m.Epoch = ^uint64(0) }},
		"append with a chunk":          {appendMessage, func(m *Message) { m.Chunk = &Chunk{Data: []byte("x")} }},
		"chunk of no snapshot":         {chunk, func(m *Message) { m.Snapshot = nil }},
		"chunk beyond the last":        {chunk, func(m *Message) { m.Chunk.Number = 3 }},
		"chunk number absurd":          {chunk, func(m *Message) { m.Chunk.Number = ^uint64(0) }},
		"snapshot without a base":      {chunk, func(m *Message) { m.Snapshot.Base = nil }},
		"snapshot without an index":    {chunk, func(m *Message) { m.Snapshot.Base.Index, m.Snapshot.Base.Term = 0, 0 }},
		"snapshot without chunks":      {chunk, func(m *Message) { m.Snapshot.Chunks, m.Chunk = 0, nil }},
		"snapshot of the future":       {chunk, func(m *Message) { m.Snapshot.Base.Term = 6 }},
		"snapshot without members":     {chunk, func(m *Message) { m.Snapshot.Base.Configuration = nil }},
		"snapshot of odd members":      {chunk, func(m *Message) { m.Snapshot.Base.Configuration.Learners = []string{"n1"} }},
		"unknown field of a snapshot":  {chunk, func(m *Message) { m.Snapshot.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) }},
		"fed by both":                  {fed, func(m *Message) { m.Index, m.LogTerm = 1, 1 }},
		"fed a chunk of nothing":       {fed, func(m *Message) { m.Snapshot = nil }},
		"conflict and accepted":        {rejection, func(m *Message) { m.Reject = false }},
		"conflict term of the future":  {rejection, func(m *Message) { m.ConflictTerm = 6 }},
		"conflict index absurd":        {rejection, func(m *Message) { m.ConflictIndex = ^uint64(0) }},
		"heartbeat reply with a match": {rejection, func(m *Message) { m.Type = MessageType_HEARTBEAT_REPLY }},
	} {
		t.Run(name, func(t *testing.T) {
			p := tt.of()
			tt.spoil(p)
			_, err := MessageFromProto(p)
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
	_, err := MessageFromProto(nil)
	require.ErrorIs(t, err, ErrMalformed)
}

// A node that has never seen a term must be able to answer a pre-vote.
func TestPreVoteReplyInTermZero(t *testing.T) {
	m := raft.Message{Type: raft.MsgPreVoteReply, From: "n2", To: "n1", ID: 4}
	got, err := MessageFromProto(MessageToProto(m))
	require.NoError(t, err)
	require.Equal(t, m, got)
}

// Would catch durable state that is written although no restart could read it.
func TestMarshalRefusesWhatUnmarshalWould(t *testing.T) {
	for name, e := range map[string]raft.Entry{
		"no index":     {Term: 1},
		"no term":      {Index: 1},
		"unknown type": {Index: 1, Term: 1, Type: 9},
		"absurd index": {Index: MaxOrdinal + 1, Term: 1},
		"no-op data":   {Index: 1, Term: 1, Type: raft.EntryNoOp, Data: []byte("x")},
	} {
		_, err := MarshalEntry(e)
		require.ErrorIs(t, err, ErrMalformed, name)
		b, err := proto.Marshal(entryToProto(e))
		require.NoError(t, err, name)
		_, err = UnmarshalEntry(b)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	for name, hs := range map[string]raft.HardState{
		"vote in no term": {Vote: "n1"},
		"absurd term":     {Term: ^uint64(0)},
		"not UTF-8":       {Term: 1, Vote: "\xff"},
	} {
		_, err := MarshalHardState(hs)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	for name, base := range map[string]raft.Base{
		"index without term": {Index: 1},
		"term without index": {Term: 1},
		"not sorted":         {Configuration: raft.Configuration{Voters: []raft.NodeID{"n2", "n1"}}},
		"twice":              {Configuration: raft.Configuration{Learners: []raft.NodeID{"n1", "n1"}}},
		"nobody":             {Configuration: raft.Configuration{Outgoing: []raft.NodeID{""}}},
	} {
		_, err := MarshalBase(base)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	_, err := UnmarshalBase(nil)
	require.ErrorIs(t, err, ErrMalformed, "a base without a configuration")
}

// Would catch a decoder that panics, or that accepts what cannot be encoded again.
func FuzzUnmarshalEntry(f *testing.F) {
	for _, e := range []raft.Entry{
		{Index: 1, Term: 1, Type: raft.EntryNoOp, Checksum: 7},
		{Index: 300, Term: 2, Data: []byte("data"), Checksum: 1 << 31},
	} {
		b, err := MarshalEntry(e)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := UnmarshalEntry(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		b, err = MarshalEntry(e)
		require.NoError(t, err)
		again, err := UnmarshalEntry(b)
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

func FuzzMessageFromProto(f *testing.F) {
	for _, m := range []raft.Message{
		{Type: raft.MsgVote, From: "n1", To: "n2", Term: 3, ID: 1, Index: 2, LogTerm: 1},
		{Type: raft.MsgAppend, From: "n1", To: "n2", Term: 3, Entries: []raft.Entry{{Index: 1, Term: 3, Type: raft.EntryNoOp}}},
		{Type: raft.MsgAppendReply, From: "n2", To: "n1", Term: 3, Index: 9, Reject: true, ConflictIndex: 1},
		{
			Type: raft.MsgSnapshot, From: "n1", To: "n2", Term: 5,
			Snapshot: &raft.Snapshot{Base: raft.Base{Index: 7, Term: 4, Configuration: raft.Configuration{Voters: []raft.NodeID{"n1"}}}, Chunks: 1},
		},
	} {
		b, err := proto.Marshal(MessageToProto(m))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Message
		if proto.Unmarshal(b, &p) != nil {
			return
		}
		m, err := MessageFromProto(&p)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again, err := MessageFromProto(MessageToProto(m))
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}
