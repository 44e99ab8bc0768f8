package wire

import (
	"slices"
	"strings"
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

func drawSet(t *rapid.T, label string) []raft.NodeID {
	ids := rapid.SliceOfNDistinct(nodeIDs, 0, 5, rapid.ID).Draw(t, label)
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return ids
}

// drawConfiguration draws one that is valid: each node has one part, and what only a joint
// configuration has is drawn from those that it may be of.
func drawConfiguration(t *rapid.T) (c raft.Configuration) {
	parts := []*[]raft.NodeID{&c.Voters, &c.Learners, &c.ReadOnly, &c.LearnersNext}
	for i, id := range drawSet(t, "members") {
		part := 0
		if i > 0 {
			part = rapid.IntRange(0, len(parts)-1).Draw(t, "part")
		}
		*parts[part] = append(*parts[part], id)
	}
	for _, id := range c.Learners {
		if rapid.Bool().Draw(t, "promote") {
			c.Promote = append(c.Promote, id)
		}
	}
	if len(c.Voters) > 0 {
		c.Outgoing = slices.Concat(c.LearnersNext, drawSet(t, "outgoing"))
		slices.Sort(c.Outgoing)
		if c.Outgoing = slices.Compact(c.Outgoing); len(c.Outgoing) == 0 {
			c.Outgoing = nil
		}
	}
	for _, id := range c.Members() {
		if rapid.Bool().Draw(t, "addressed") {
			if c.Addresses == nil {
				c.Addresses = make(map[raft.NodeID]string)
			}
			c.Addresses[id] = rapid.StringN(1, 20, 200).Draw(t, "address")
		}
	}
	return c
}

func drawBase(t *rapid.T, index, term uint64) raft.Base {
	return raft.Base{Index: index, Term: term, Checksum: rapid.Uint32().Draw(t, "checksum"), Configuration: drawConfiguration(t)}
}

// drawSnapshot draws one of a term up to last.
func drawSnapshot(t *rapid.T, last uint64) *raft.Snapshot {
	return &raft.Snapshot{
		Base:            drawBase(t, ordinal(1).Draw(t, "snapshot index"), rapid.Uint64Range(1, last).Draw(t, "snapshot term")),
		Chunks:          rapid.Uint64Range(1, MaxOrdinal).Draw(t, "chunks"),
		ContentChecksum: rapid.Uint32().Draw(t, "content checksum"),
	}
}

// drawChunk draws the last of s, or another.
func drawChunk(t *rapid.T, s *raft.Snapshot) raft.Chunk {
	c := raft.Chunk{Number: s.Chunks - 1, Checksum: s.ContentChecksum, Data: drawData(t)}
	if s.Chunks > 1 && rapid.Bool().Draw(t, "not the last chunk") {
		c.Number = rapid.Uint64Range(0, s.Chunks-2).Draw(t, "chunk")
		c.Checksum = rapid.Uint32().Draw(t, "chunk checksum")
	}
	return c
}

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
	if has&hasReadRound != 0 {
		m.ReadRound = ordinal(0).Draw(t, "read round")
	}
	if has&hasEpoch != 0 {
		m.Epoch = ordinal(0).Draw(t, "epoch")
	}
	if has&hasTransfer != 0 {
		m.Transfer = rapid.Bool().Draw(t, "transfer")
	}
	if m.Type == raft.MsgSnapshot || m.Type == raft.MsgFetchReply && rapid.Bool().Draw(t, "a chunk") {
		m.Snapshot = drawSnapshot(t, m.Term)
		m.Chunk = drawChunk(t, m.Snapshot)
		return m
	}
	if m.Type == raft.MsgFetch && rapid.Bool().Draw(t, "receiving") {
		m.Snapshot = drawSnapshot(t, MaxOrdinal)
		m.Chunk.Number = drawChunk(t, m.Snapshot).Number
	}
	if m.Type == raft.MsgSnapshotReply {
		m.Chunk.Number = ordinal(0).Draw(t, "chunk wanted")
	}
	if has&hasLogTerm != 0 && rapid.Bool().Draw(t, "log is not empty") {
		m.Index = rapid.Uint64Range(1, MaxOrdinal-10).Draw(t, "index")
		m.LogTerm = rapid.Uint64Range(1, m.Term).Draw(t, "log term")
	}
	if has&hasChecksum != 0 {
		m.Checksum = rapid.Uint32().Draw(t, "checksum")
	}
	if has&hasReject != 0 {
		m.Reject = rapid.Bool().Draw(t, "reject")
	}
	if has&hasEntries != 0 && !m.Reject {
		term := max(m.LogTerm, 1)
		for i := range rapid.IntRange(0, 5).Draw(t, "entries") {
			term = rapid.Uint64Range(term, m.Term).Draw(t, "entry term")
			m.Entries = append(m.Entries, drawEntry(t, m.Index+uint64(i)+1, term))
		}
	}
	if has&hasCommit != 0 {
		m.Commit = ordinal(0).Draw(t, "commit")
	}
	if has&hasIndex != 0 && has&hasLogTerm == 0 {
		m.Index = ordinal(0).Draw(t, "index")
	}
	if has&hasConflict != 0 {
		if m.Reject {
			m.ConflictIndex = ordinal(0).Draw(t, "conflict index")
			m.ConflictTerm = rapid.Uint64Range(0, m.Term).Draw(t, "conflict term")
		}
	}
	return m
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
		hs := raft.HardState{Term: ordinal(0).Draw(t, "term"), Joined: ordinal(0).Draw(t, "entry of joining")}
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
		var index, term uint64
		if rapid.Bool().Draw(t, "compacted") {
			index, term = ordinal(1).Draw(t, "index"), ordinal(1).Draw(t, "term")
		}
		base := drawBase(t, index, term)
		b, err := MarshalBase(base)
		require.NoError(t, err)
		got, err := UnmarshalBase(b)
		require.NoError(t, err)
		require.Equal(t, base, got)
	})
}

func TestSnapshotRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSnapshot(t, MaxOrdinal)
		b, err := MarshalSnapshot(*s)
		require.NoError(t, err)
		got, err := UnmarshalSnapshot(b)
		require.NoError(t, err)
		require.Equal(t, *s, got)
	})
}

func TestChunkRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := raft.Chunk{
			Number: ordinal(0).Draw(t, "number"), Checksum: rapid.Uint32().Draw(t, "checksum"), Data: drawData(t),
		}
		b, err := MarshalChunk(c)
		require.NoError(t, err)
		got, err := UnmarshalChunk(b)
		require.NoError(t, err)
		require.Equal(t, c, got)
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
	snapshot := raft.Snapshot{
		Base:   raft.Base{Index: 9, Term: 4, Checksum: 1, Configuration: raft.Configuration{Voters: []raft.NodeID{"n1", "n2"}}},
		Chunks: 3, ContentChecksum: 7,
	}
	of := func(m raft.Message) func() *Message {
		m.From, m.To, m.Term = "n1", "n2", 5
		return func() *Message {
			p := MessageToProto(m)
			return proto.Clone(p).(*Message) // what is spoilt is of this message only
		}
	}
	last := raft.Chunk{Number: 2, Data: []byte("z"), Checksum: 7}
	chunk := of(raft.Message{Type: raft.MsgSnapshot, Epoch: 3, ReadRound: 2, Snapshot: &snapshot, Chunk: last})
	chunkReply := of(raft.Message{Type: raft.MsgSnapshotReply, Index: 9, Epoch: 3, ReadRound: 2, Chunk: raft.Chunk{Number: 2}})
	fetch := of(raft.Message{Type: raft.MsgFetch, Index: 3, LogTerm: 2, Checksum: 8, Snapshot: &snapshot, Chunk: raft.Chunk{Number: 2}})
	fetched := of(raft.Message{Type: raft.MsgFetchReply, Index: 3, LogTerm: 2, Commit: 5, Entries: []raft.Entry{{Index: 4, Term: 2}}})
	fetchedChunk := of(raft.Message{Type: raft.MsgFetchReply, Commit: 9, Snapshot: &snapshot, Chunk: last})
	timeoutNow := of(raft.Message{Type: raft.MsgTimeoutNow})
	readIndex := of(raft.Message{Type: raft.MsgReadIndex, ReadRound: 4})
	readIndexReply := of(raft.Message{Type: raft.MsgReadIndexReply, ReadRound: 4, Index: 6})
	vote := of(raft.Message{Type: raft.MsgVote, Index: 3, LogTerm: 2, Transfer: true})
	for _, accepted := range []*Message{
		appendMessage(), rejection(), chunk(), chunkReply(), fetch(), fetched(), fetchedChunk(), timeoutNow(), readIndex(),
		readIndexReply(), vote(),
	} {
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
		"conflict and accepted":        {rejection, func(m *Message) { m.Reject = false }},
		"conflict term of the future":  {rejection, func(m *Message) { m.ConflictTerm = 6 }},
		"conflict index absurd":        {rejection, func(m *Message) { m.ConflictIndex = ^uint64(0) }},
		"heartbeat reply with a match": {rejection, func(m *Message) { m.Type = MessageType_HEARTBEAT_REPLY }},

		"append with a chunk":        {appendMessage, func(m *Message) { m.Chunk = &Chunk{Number: 1} }},
		"append with a snapshot":     {appendMessage, func(m *Message) { m.Snapshot = chunk().Snapshot }},
		"append with transfer":       {appendMessage, func(m *Message) { m.Transfer = true }},
		"pre-vote with transfer":     {vote, func(m *Message) { m.Type = MessageType_PRE_VOTE }},
		"vote with epoch":            {vote, func(m *Message) { m.Epoch = 1 }},
		"epoch absurd":               {chunk, func(m *Message) { m.Epoch = ^uint64(0) }},
		"snapshot missing":           {chunk, func(m *Message) { m.Snapshot = nil }},
		"snapshot missing, no chunk": {chunk, func(m *Message) { m.Snapshot, m.Chunk = nil, nil }},
		"snapshot without a base":    {chunk, func(m *Message) { m.Snapshot.Base = nil }},
		"snapshot without members":   {chunk, func(m *Message) { m.Snapshot.Base.Configuration = nil }},
		"snapshot of nothing":        {chunk, func(m *Message) { m.Snapshot.Base.Index, m.Snapshot.Base.Term = 0, 0 }},
		"snapshot without a term":    {chunk, func(m *Message) { m.Snapshot.Base.Term = 0 }},
		"snapshot of the future":     {chunk, func(m *Message) { m.Snapshot.Base.Term = 6 }},
		"snapshot without content":   {chunk, func(m *Message) { m.Snapshot.Chunks = 0 }},
		"snapshot's members twice":   {chunk, func(m *Message) { m.Snapshot.Base.Configuration.Voters[1] = "n1" }},
		"chunk beyond the last":      {chunk, func(m *Message) { m.Chunk.Number = 3 }},
		"chunk absurd":               {chunkReply, func(m *Message) { m.Chunk.Number = ^uint64(0) }},
		"content ends otherwise":     {chunk, func(m *Message) { m.Chunk.Checksum = 6 }},
		"snapshot with entries":      {chunk, func(m *Message) { m.Entries = appendMessage().Entries }},
		"snapshot with commit":       {chunk, func(m *Message) { m.Commit = 1 }},
		"unknown field of a chunk":   {chunk, func(m *Message) { m.Chunk.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) }},
		"unknown field of a snapshot": {chunk, func(m *Message) {
			m.Snapshot.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
		}},
		"unknown field of a base": {chunk, func(m *Message) {
			m.Snapshot.Base.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
		}},
		"unknown field of a configuration": {chunk, func(m *Message) {
			m.Snapshot.Base.Configuration.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
		}},
		"snapshot reply with data":       {chunkReply, func(m *Message) { m.Chunk.Data = []byte("x") }},
		"snapshot reply with a snapshot": {chunkReply, func(m *Message) { m.Snapshot = chunk().Snapshot }},
		"snapshot reply without a term":  {chunkReply, func(m *Message) { m.Term = 0 }},
		"time-out with a round":          {timeoutNow, func(m *Message) { m.ReadRound = 1 }},
		"time-out without a term":        {timeoutNow, func(m *Message) { m.Term = 0 }},
		"time-out with reject":           {timeoutNow, func(m *Message) { m.Reject = true }},
		"read without a term":            {readIndex, func(m *Message) { m.Term = 0 }},
		"read with an index":             {readIndex, func(m *Message) { m.Index = 1 }},
		"answer to a read with a commit": {readIndexReply, func(m *Message) { m.Commit = 1 }},
		"fetch with entries":             {fetch, func(m *Message) { m.Entries = fetched().Entries }},
		"fetch with data":                {fetch, func(m *Message) { m.Chunk.Data = []byte("x") }},
		"fetch that wants what is whole": {fetch, func(m *Message) { m.Chunk.Number = 3 }},
		"fetch of a chunk of nothing":    {fetch, func(m *Message) { m.Snapshot = nil }},
		"fetch with a log of the future": {fetch, func(m *Message) { m.LogTerm = 6 }},
		"fetched and refused":            {fetched, func(m *Message) { m.Reject = true }},
		"fetched with a gap":             {fetched, func(m *Message) { m.Entries[0].Index = 5 }},
		"fetched with a round":           {fetched, func(m *Message) { m.ReadRound = 5 }},
		"fetched without a term":         {fetched, func(m *Message) { m.Term = 0 }},
		"fetched chunk of nothing":       {fetchedChunk, func(m *Message) { m.Snapshot = nil }},
		"fetched chunk of the future":    {fetchedChunk, func(m *Message) { m.Snapshot.Base.Term = 6 }},
		"fetched chunk with entries":     {fetchedChunk, func(m *Message) { m.Entries = []*Entry{{Index: 1, Term: 1}} }},
		"fetched chunk and its log":      {fetchedChunk, func(m *Message) { m.Index, m.LogTerm = 3, 2 }},
		"fetched chunk and refused":      {fetchedChunk, func(m *Message) { m.Reject = true }},
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

// A node that has never seen a term must be able to answer a pre-vote, and a read-only peer to ask.
func TestTermZero(t *testing.T) {
	for _, m := range []raft.Message{
		{Type: raft.MsgPreVoteReply, From: "n2", To: "n1", ID: 4},
		{Type: raft.MsgFetch, From: "n2", To: "n1", ID: 4},
		{Type: raft.MsgFetchReply, From: "n2", To: "n1", ID: 4, Reject: true},
	} {
		got, err := MessageFromProto(MessageToProto(m))
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
}

// Would catch a type that was added to raft and cannot be sent, or takes another's place.
func TestTypesAreRaft(t *testing.T) {
	require.Len(t, MessageType_name, int(raft.MsgFetchReply)+1)
	for value, name := range MessageType_name {
		if value > 0 {
			require.Contains(t, fieldsOf, MessageType(value))
			require.Equal(t, raft.MessageType(value).IsReply(), strings.HasSuffix(name, "_REPLY"), name)
		}
	}
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
		"no voter":           {Configuration: raft.Configuration{ReadOnly: []raft.NodeID{"n1"}}},
		"two parts":          {Configuration: raft.Configuration{Voters: []raft.NodeID{"n1"}, ReadOnly: []raft.NodeID{"n1"}}},
		"not UTF-8":          {Configuration: raft.Configuration{Voters: []raft.NodeID{"\xff"}}},
		"a stranger's address": {Configuration: raft.Configuration{
			Voters: []raft.NodeID{"n1"}, Addresses: map[raft.NodeID]string{"n2": "h"}}},
	} {
		_, err := MarshalBase(base)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	_, err := UnmarshalBase(nil)
	require.ErrorIs(t, err, ErrMalformed, "a base without a configuration")
	for name, s := range map[string]raft.Snapshot{
		"of nothing":      {Chunks: 1},
		"without content": {Base: raft.Base{Index: 1, Term: 1}},
	} {
		_, err := MarshalSnapshot(s)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	_, err = UnmarshalSnapshot(nil)
	require.ErrorIs(t, err, ErrMalformed, "a snapshot without a base")
	_, err = MarshalChunk(raft.Chunk{Number: MaxOrdinal + 1})
	require.ErrorIs(t, err, ErrMalformed)
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
			Type: raft.MsgSnapshot, From: "n1", To: "n2", Term: 3, Epoch: 2, Chunk: raft.Chunk{Data: []byte("x"), Checksum: 5},
			Snapshot: &raft.Snapshot{Base: raft.Base{Index: 4, Term: 2}, Chunks: 1, ContentChecksum: 5},
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
