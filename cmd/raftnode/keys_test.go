package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keys are what a cluster is secured with.
type keys struct {
	authority *x509.Certificate
	signs     *ecdsa.PrivateKey
	ca        string
	gossip    string
}

func newKeys(t *testing.T) *keys {
	k := &keys{ca: filepath.Join(t.TempDir(), "ca.pem"), gossip: filepath.Join(t.TempDir(), "gossip.key")}
	k.signs = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.signs.PublicKey, k.signs)
	require.NoError(t, err)
	k.authority, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	writePEM(t, k.ca, "CERTIFICATE", der)
	secret := make([]byte, 32)
	rand.Read(secret)
	require.NoError(t, os.WriteFile(k.gossip, []byte(base64.StdEncoding.EncodeToString(secret)+"\n"), 0o600))
	return k
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func writePEM(t *testing.T, file, what string, der []byte) {
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: what, Bytes: der}), 0o600))
}

// of is the flags by which a node proves who it is.
func (k *keys) of(t *testing.T, id string) []string {
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{id},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, k.authority, &key.PublicKey, k.signs)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	cert, private := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, private, "PRIVATE KEY", encoded)
	return []string{
		"--tls-cert", cert, "--tls-key", private, "--tls-ca", k.ca, "--gossip-key-file", k.gossip,
		"--client-tls-cert", cert, "--client-tls-key", private, "--client-tls-ca", k.ca,
	}
}
