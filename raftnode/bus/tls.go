package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"coup/raftnode/raft"
)

// MutualTLS reads what secures a bus: this node's certificate and key, and the authority by which every node's
// certificate is signed, all PEM. A certificate is a node's by naming it as a DNS name: n1's names n1, at whatever
// address n1 is. Both sides of a stream show theirs.
func MutualTLS(certificate, key, authority string) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("bus: this node's certificate: %w", err)
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, fmt.Errorf("bus: the authority's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("bus: %s holds no certificate", authority)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{own}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
}

// credentials are those for a stream to a peer, or, for the empty one, for streams from all.
func (b *GRPC) credentials(to raft.NodeID) credentials.TransportCredentials {
	if b.o.TLS == nil {
		return insecure.NewCredentials()
	}
	c := b.o.TLS.Clone()
	c.ServerName = string(to)
	return credentials.NewTLS(c)
}

// proves tells whether the other side of a stream has shown that it is who it says.
func (b *GRPC) proves(ctx context.Context, id raft.NodeID) error {
	if b.o.TLS == nil {
		return nil
	}
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return errors.New("nothing is known of the other side")
	}
	info, secured := p.AuthInfo.(credentials.TLSInfo)
	if !secured || len(info.State.PeerCertificates) == 0 {
		return errors.New("no certificate was shown")
	}
	return info.State.PeerCertificates[0].VerifyHostname(string(id))
}
