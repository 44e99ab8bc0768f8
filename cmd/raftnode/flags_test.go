package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
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
		"--peers n1=h --data d":          "--id",
		"--id a/b --peers n1=h --data d": "--id",
		"--id n1 --data d":               "--peers",
		"--id n1 --peers n1 --data d":    "--peers",
		"--id n1 --peers n2=h --data d":  "--peers",
		"--id n1 --peers n1=h":           "--data",
		good + "--listen-http 4100":      "--listen-http",
		good + "--listen-bus :0":         "--listen-bus",
		good + "--listen-gossip h:x":     "--listen-gossip",
		good + "--tick 0s":               "--tick",
		good + "--tick 5":                "--tick",
		good + "--heartbeat-ticks 0":     "--heartbeat-ticks",
		good + "--election-ticks 2":      "--election-ticks",
		good + "--request-timeout -1s":   "--request-timeout",
		good + "--seed minus":            "--seed",
		good + "--log-level loud":        "--log-level",
		good + "--log-format xml":        "--log-format",
	} {
		_, err := parse(line)
		require.ErrorContains(t, err, flag, line)
		require.NotContains(t, err.Error(), "\n", line)
	}
}
