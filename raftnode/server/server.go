package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"coup/raftnode/api"
	"coup/raftnode/api/apipb"
	"coup/raftnode/bus"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
)

// Options are what the API is made of.
type Options struct {
	ID      raft.NodeID
	Loop    *Loop
	Metrics *Metrics // the loop's
	// ClientURL tells where a node's API is, as http://HOST:PORT, empty when that is not known. It must not block.
	ClientURL func(raft.NodeID) string
	BusStats  func() bus.Stats // nil for none
	Logger    *slog.Logger     // nil for none
	Version   string
	// PID is told in the status, so that whoever watches from outside knows a restarted process.
	PID int
	// Standing tells how the node stands to its cluster, given the configuration in force, its index and what is
	// committed; nil knows nothing of that. begun is false as long as the loop has no replica to drive: until then all but
	// the status is refused, and s is that of no replica; an empty phase has that refused, too, since a node that has not
	// looked at its disk cannot say in which term it is. It must not block.
	Standing func(s replica.Status) (standing api.Standing, begun bool)
	// CheckAddress says why a member cannot be at an address that a change gives it; nil takes any.
	CheckAddress func(string) error
	// ClientTLS secures the streams of clients by gRPC; nil leaves them in the clear.
	ClientTLS *tls.Config
	// Faults serves what is below /faults, whatever the loop does; nil, as in any node that is not under test, and there is
	// nothing.
	Faults http.Handler
	// RequestTimeout is how long a request may wait. Zero is 4 s.
	RequestTimeout time.Duration
	// MaxRequests bounds the requests under way, those included whose body is still being read; more are refused at once. Zero
	// is 8192.
	MaxRequests int
	// MaxKeyBytes and MaxBodyBytes bound a request. Zero is 512 bytes and 1 MiB.
	MaxKeyBytes  int
	MaxBodyBytes int64
}

// statusTimeout is how long the loop may take to say how it is.
const statusTimeout = time.Second

// Server is a node's API, by HTTP and by gRPC on one port.
type Server struct {
	o     Options
	loop  *Loop
	begun time.Time
	http  *http.Server
	grpc  *grpc.Server

	underWay  atomic.Int64  // requests
	exchanges atomic.Int64  // streams
	draining  chan struct{} // closed when no more requests are taken
	drain     sync.Once
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ClientURL == nil {
		o.ClientURL = func(raft.NodeID) string { return "" }
	}
	if o.CheckAddress == nil {
		o.CheckAddress = func(string) error { return nil }
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 4 * time.Second
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = 8192
	}
	if o.MaxKeyBytes == 0 {
		o.MaxKeyBytes = 512
	}
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = 1 << 20
	}
	s := &Server{o: o, loop: o.Loop, begun: time.Now(), draining: make(chan struct{})}
	o.Metrics.registry.MustRegister(collector{s})
	s.http = &http.Server{
		Handler:           s.withFaults(s.bounded(s.whileBeginning(s.routes()))),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      o.RequestTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute, // longer than clients keep theirs
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(slogWriter{o.Logger}, "", 0),
	}
	s.grpc = s.streams()
	return s
}

// streamWindow is how many bytes of a client are taken in before they are looked at.
const streamWindow = 256 << 10

// streams is the server of clients by gRPC.
func (s *Server) streams() *grpc.Server {
	secured := insecure.NewCredentials()
	if s.o.ClientTLS != nil {
		secured = credentials.NewTLS(s.o.ClientTLS)
	}
	g := grpc.NewServer(
		grpc.Creds(secured),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(apipb.MaxRequests),
		grpc.MaxSendMsgSize(apipb.MaxAnswers),
		grpc.MaxConcurrentStreams(16),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(streamWindow),
		grpc.ConnectionTimeout(sniffTimeout),
		grpc.MaxHeaderListSize(16<<10),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 2 * time.Minute, Time: time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}),
	)
	apipb.RegisterAPIServer(g, service{server: s})
	return g
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key}", s.read)
	mux.HandleFunc("PUT /kv/{key}", s.write)
	mux.HandleFunc("POST /kv/{key}/cas", s.cas)
	mux.HandleFunc("DELETE /kv/{key}", s.delete)
	mux.HandleFunc("POST /sessions", s.openSession)
	mux.HandleFunc("DELETE /sessions/{id}", s.closeSession)
	mux.HandleFunc("GET /raft/status", s.status)
	mux.HandleFunc("GET /raft/config", s.configuration)
	mux.HandleFunc("POST /raft/members", s.changeMembers)
	mux.HandleFunc("POST /raft/transfer", s.transfer)
	mux.HandleFunc("POST /raft/step-down", s.stepDown)
	mux.HandleFunc("POST /raft/snapshot", s.snapshot)
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.o.Metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", s.noRoute)
	return mux
}

// withFaults puts the control of faults before all else, where there is one.
func (s *Server) withFaults(h http.Handler) http.Handler {
	if s.o.Faults == nil {
		return h
	}
	mux := http.NewServeMux()
	mux.Handle("/faults", s.o.Faults)
	mux.Handle("/faults/", s.o.Faults)
	mux.Handle("/", h)
	return mux
}

// bounded refuses what would be too much at once, before anything of it is read. Whoever looks after the node gets through all the same.
func (s *Server) bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.underWay.Add(-1)
		data := strings.HasPrefix(r.URL.Path, "/kv/") || strings.HasPrefix(r.URL.Path, "/sessions")
		if s.underWay.Add(1) > int64(s.o.MaxRequests) && data {
			w.Header().Set("Connection", "close")
			s.refuse(w, http.StatusServiceUnavailable, api.Error{
				Type: api.Overloaded, Message: fmt.Sprintf("more than %d requests are under way", s.o.MaxRequests), Definite: true,
			})
			return
		}
		h.ServeHTTP(w, r)
	})
}

// whileBeginning has only the status answered until the loop has a replica.
func (s *Server) whileBeginning(begun http.Handler) http.Handler {
	if s.o.Standing == nil {
		return begun
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		standing, takesPart := s.o.Standing(replica.Status{})
		switch {
		case takesPart || r.URL.Path == "/metrics":
			begun.ServeHTTP(w, r)
		case r.Method == http.MethodGet && r.URL.Path == "/raft/status" && standing.Phase != "":
			reply(w, http.StatusOK, s.unbegun(standing))
		default:
			s.refuse(w, http.StatusServiceUnavailable, notBegun(standing))
		}
	})
}

func notBegun(standing api.Standing) api.Error {
	return api.Error{Type: api.NotReady, Message: "the node does not take part yet: " + standing.Waiting, Definite: true}
}

// Handler is the HTTP API without its listener.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve answers on a listener, which it closes, until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	both := newSplit(l)
	streams := make(chan error, 1)
	go func() { streams <- s.grpc.Serve(both.grpc) }()
	err := s.http.Serve(both.http)
	both.grpc.Close()
	<-streams
	select {
	case <-s.draining: // it was told to end
		return nil
	default:
		return err
	}
}

// Shutdown takes no more requests and waits for those under way until ctx is done; then it breaks
// their connections.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain.Do(func() { close(s.draining) })
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	select {
	case <-drained:
	case <-ctx.Done():
		s.grpc.Stop()
		<-drained
	}
	return err
}

// slogWriter takes what net/http has to say about broken connections.
type slogWriter struct{ log *slog.Logger }

func (w slogWriter) Write(line []byte) (int, error) {
	w.log.Debug(string(line))
	return len(line), nil
}
