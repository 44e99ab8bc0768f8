package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
	"coup/raftnode/replica"
)

// parse reads a command line as the daemon does.
func parse(line string) (settings, error) {
	var f flags
	s := pflag.NewFlagSet("raftnode", pflag.ContinueOnError)
	s.SetOutput(io.Discard)
	f.register(s)
	if err := s.Parse(strings.Fields(line)); err != nil {
		return settings{}, err
	}
	return f.settings()
}

func TestSettings(t *testing.T) {
	s, err := parse("--id n2 --peers n1=h1,n2=h2 --data d --listen-http :1 --listen-bus 10.0.0.1:2 --listen-gossip :3 --advertise me")
	require.NoError(t, err)
	require.Equal(t, peer{"me", ports{bus: 2, http: 1, gossip: 3}}, s.self)
	require.Equal(t, peer{"h1", ports{bus: 2, http: 1, gossip: 3}}, s.peers["n1"])
}

// What a node is told of leaders, snapshots and its own part reaches it. Catches a flag without effect.
func TestSettingsOfTheProtocol(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte("MDEyMzQ1Njc4OWFiY2RlZg==\n"), 0o600))
	s, err := parse("--id n4 --peers n2=h2,n1=h1 --advertise me --data d --join --read-only --max-leader-ticks 40 --at-max-reign exit " +
		"--lease-drift 5 --promotion-lag 7 --snapshot-every 100 --snapshot-keep 10 --snapshot-chunk-bytes 2048 --gossip-key-file " + key)
	require.NoError(t, err)
	require.Equal(t, peer{"me", defaultPorts}, s.self)
	require.Equal(t, []raft.NodeID{"n1", "n2"}, s.upstreams)
	require.Equal(t, []byte("0123456789abcdef"), s.gossipKey)
	require.True(t, s.join)
	require.Equal(t, []any{40, raft.Exit, 5, 7, replica.Snapshots{Every: 100, Keep: 10, Amortized: true, ChunkBytes: 2048}},
		[]any{s.maxLeaderTicks, s.atMaxReign, s.leaseDrift, s.promotionLag, s.snapshots})
	s, err = parse("--id n4 --peers n2=h2,n1=h1 --advertise me --data d --join --read-only --upstreams n3,n1")
	require.NoError(t, err)
	require.Equal(t, []raft.NodeID{"n3", "n1"}, s.upstreams)
	s, err = parse("--id n1 --peers n1=h1 --data d")
	require.NoError(t, err)
	require.Equal(t, replica.Snapshots{Amortized: true, Every: 10_000, Keep: 1_000, ChunkBytes: 256 << 10}, s.snapshots)
	require.Empty(t, s.upstreams)
}

// The store wins over the command line, and each difference is told.
func TestDisagreementsAreTold(t *testing.T) {
	s, err := parse("--id n1 --peers n1=h1,n2=h2,n3=h3,n9=h9 --data d")
	require.NoError(t, err)
	require.Equal(t, []string{
		"--peers has n2 at h2:4200/4100/4300, the configuration at moved:4200/4100/4300",
		"--peers names n9, which is no member",
		"n4 is a member, and --peers does not name it",
		"this node is reached at h1:4200/4100/4300, and the configuration says old:4200/4100/4300; raftnode move n1=h1:4200/4100/4300 corrects that",
		"--read-only says otherwise than the configuration, by which this node is a read-only peer",
	}, s.disagreements(raft.Configuration{
		Voters: []raft.NodeID{"n2", "n3", "n4"}, ReadOnly: []raft.NodeID{"n1"},
		Addresses: map[raft.NodeID]string{"n1": "old:4200/4100/4300", "n2": "moved:4200/4100/4300", "n3": "h3:4200/4100/4300"},
	}))
	s, err = parse("--id n1 --peers n1=h1,n2=h2 --data d")
	require.NoError(t, err)
	require.Empty(t, s.disagreements(raft.Configuration{Voters: []raft.NodeID{"n1", "n2"}}))
}

// Nodes that are all given one seed must still differ, or their elections tie for ever.
func TestOneSeedIsAnotherForEachNode(t *testing.T) {
	one, err := parse("--id n1 --peers n1=h,n2=h --data d --seed 7")
	require.NoError(t, err)
	again, err := parse("--id n1 --peers n1=h,n2=h --data d --seed 7")
	require.NoError(t, err)
	two, err := parse("--id n2 --peers n1=h,n2=h --data d --seed 7")
	require.NoError(t, err)
	require.Equal(t, one.seed, again.seed)
	require.NotEqual(t, one.seed, two.seed)
}

// Each wrong command line is refused by one line that names the flag.
func TestWrongSettingsAreRefused(t *testing.T) {
	good := "--id n1 --peers n1=h --data d "
	_, err := parse(good)
	require.NoError(t, err)
	for line, flag := range map[string]string{
		"--peers n1=h --data d":                      "--id",
		"--id a/b --peers n1=h --data d":             "--id",
		"--id n1 --data d":                           "--peers",
		"--id n1 --peers n1 --data d":                "--peers",
		"--id n1 --peers n2=h --data d --bootstrap":  "--peers",
		"--id n1 --peers n2=h --data d":              "--advertise",
		"--id n1 --peers n1=h":                       "--data",
		good + "--listen-http 4100":                  "--listen-http",
		good + "--listen-bus :0":                     "--listen-bus",
		good + "--listen-gossip h:x":                 "--listen-gossip",
		good + "--tick 0s":                           "--tick",
		good + "--tick 5":                            "--tick",
		good + "--heartbeat-ticks 0":                 "--heartbeat-ticks",
		good + "--election-ticks 2":                  "--election-ticks",
		good + "--request-timeout -1s":               "--request-timeout",
		good + "--seed minus":                        "--seed",
		good + "--bootstrap --join":                  "--join",
		good + "--read-only":                         "--read-only",
		good + "--join --upstreams n2":               "--upstreams",
		good + "--join --read-only":                  "--upstreams",
		good + "--join --read-only --upstreams n1":   "--upstreams",
		good + "--join --read-only --upstreams a/b":  "--upstreams",
		good + "--max-leader-ticks -1":               "--max-leader-ticks",
		good + "--max-leader-ticks 10":               "--max-leader-ticks",
		good + "--at-max-reign weep":                 "--at-max-reign",
		good + "--lease-drift 51":                    "--lease-drift",
		good + "--promotion-lag 0":                   "--promotion-lag",
		good + "--snapshot-chunk-bytes 0":            "--snapshot-chunk-bytes",
		good + "--snapshot-every -1":                 "--snapshot-every",
		good + "--gossip-key-file /none":             "--gossip-key-file",
		good + "--gossip-key-file /dev/null":         "--gossip-key-file",
		good + "--tls-cert c":                        "--tls-cert, --tls-key, --tls-ca",
		good + "--tls-cert c --tls-key k --tls-ca a": "--tls-cert, --tls-key, --tls-ca",
		good + "--client-tls-key k":                  "--client-tls-cert, --client-tls-key, --client-tls-ca",
		good + "--pprof 6060":                        "--pprof",
		good + "--log-level loud":                    "--log-level",
		good + "--log-format xml":                    "--log-format",
	} {
		_, err := parse(line)
		require.ErrorContains(t, err, flag, line)
		require.NotContains(t, err.Error(), "\n", line)
	}
}
