package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := &authority{certificate: certificate, key: key, file: filepath.Join(t.TempDir(), "ca.pem")}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func writePEM(t *testing.T, file, what string, der []byte) {
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: what, Bytes: der}), 0o600))
}

// issue signs a certificate for a node, valid for as long as given.
func (a *authority) issue(t *testing.T, name string, valid time.Duration) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.certificate, &key.PublicKey, a.key)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certificateFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writePEM(t, certificateFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", encoded)
	c, err := MutualTLS(certificateFile, keyFile, a.file)
	require.NoError(t, err)
	return c
}

// Only who proves to be the node that it says it is may ask or answer. Catches a side that takes what it is shown, a
// certificate of another node included.
func TestOnlyProvenPeersAreHeard(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	good := func(name string) *tls.Config { return ours.issue(t, name, time.Hour) }
	for _, c := range []struct {
		name        string
		asks, hears *tls.Config
		works       bool
	}{
		{"both proven", good("a"), good("b"), true},
		{"both in the clear", nil, nil, true},
		{"asked in the clear", nil, good("b"), false},
		{"answered in the clear", good("a"), nil, false},
		{"who asks has another node's", good("c"), good("b"), false},
		{"who answers has another node's", good("a"), good("c"), false},
		{"who asks is signed by another", theirs.issue(t, "a", time.Hour), good("b"), false},
		{"who answers is signed by another", good("a"), theirs.issue(t, "b", time.Hour), false},
		{"who asks is out of date", ours.issue(t, "a", -time.Minute), good("b"), false},
		{"who answers is out of date", good("a"), ours.issue(t, "b", -time.Minute), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			book := &addressBook{}
			book.set("b", l.Addr().String())
			var b *GRPC
			b = NewGRPC(Options{ID: "b", Resolver: book, TLS: c.hears, Handler: func(m raft.Message) {
				b.Respond("b", "a", raft.Message{Type: raft.MsgHeartbeatReply, Term: 1, ID: m.ID})
			}})
			served := make(chan error, 1)
			go func() { served <- b.Serve(l) }()
			a := NewGRPC(Options{ID: "a", Resolver: book, TLS: c.asks})
			var h heard
			a.Send("a", "b", heartbeat, h.onResponse)
			require.Eventually(t, func() bool { return h.calls() == 1 }, 20*time.Second, time.Millisecond)
			require.Equal(t, c.works, h.err() == nil, h.err())
			require.Equal(t, c.works, b.Stats().Received == 1)
			require.NoError(t, a.Close())
			require.NoError(t, b.Close())
			require.NoError(t, <-served)
		})
	}
}

func TestMutualTLSRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nothing.pem")
	require.NoError(t, os.WriteFile(file, []byte("nothing"), 0o600))
	_, err := MutualTLS(file, file, file)
	require.ErrorContains(t, err, "certificate")
}
