package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"coup/raftnode/api"
	"coup/raftnode/api/apipb"
	"coup/raftnode/bus"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// Metrics are what GET /metrics tells.
type Metrics struct {
	registry *prometheus.Registry
	process  prometheus.Histogram
	save     prometheus.Histogram
	snapshot *prometheus.HistogramVec
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	series   [len(opNames)]opSeries // of the streams' requests, by apipb.Op
}

// opSeries are the figures of one operation.
type opSeries struct {
	ok      prometheus.Counter
	latency prometheus.Observer
}

// opNames are the operations as the metrics call them, by apipb.Op.
var opNames = [...]string{
	apipb.Op_READ: "read", apipb.Op_WRITE: "write", apipb.Op_CAS: "cas", apipb.Op_DELETE: "delete",
	apipb.Op_OPEN_SESSION: "open_session", apipb.Op_CLOSE_SESSION: "close_session",
}

// NewMetrics makes metrics in a registry of their own.
func NewMetrics() *Metrics {
	buckets := prometheus.ExponentialBuckets(50e-6, 2, 18) // 50 us to 6.5 s
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		process: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "raftnode_process_seconds", Help: "Time of one round of the replica's work.", Buckets: buckets}),
		save: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "raftnode_save_seconds", Help: "Time to make term, vote and entries durable.", Buckets: buckets}),
		snapshot: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "raftnode_snapshot_seconds", Help: "Time of one step of taking, receiving or compacting by a snapshot.",
			Buckets: buckets}, []string{"step"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raftnode_requests_total", Help: "Requests about keys, by operation and outcome."}, []string{"op", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "raftnode_request_seconds", Help: "Time to answer a request about a key.", Buckets: buckets}, []string{"op"}),
	}
	m.registry.MustRegister(m.process, m.save, m.snapshot, m.requests, m.latency,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for op, name := range opNames {
		if name != "" {
			m.series[op] = opSeries{m.requests.WithLabelValues(name, "ok"), m.latency.WithLabelValues(name)}
		}
	}
	return m
}

// answered counts the end of a stream's request. refusal is nil when it succeeded.
func (m *Metrics) answered(op apipb.Op, took time.Duration, refusal *api.Error) {
	m.series[op].latency.Observe(took.Seconds())
	if refusal == nil {
		m.series[op].ok.Inc()
		return
	}
	m.requests.WithLabelValues(opNames[op], string(refusal.Type)).Inc()
}

// Store is s, measured.
func (m *Metrics) Store(s store.Store) store.Store { return measuredStore{s, m} }

type measuredStore struct {
	store.Store
	metrics *Metrics
}

func (s measuredStore) Save(hs *raft.HardState, entries []raft.Entry) error {
	defer observe(s.metrics.save, time.Now())
	return s.Store.Save(hs, entries)
}

func (s measuredStore) TakeChunk(c raft.Chunk) error {
	defer observe(s.metrics.snapshot.WithLabelValues("take"), time.Now())
	return s.Store.TakeChunk(c)
}

func (s measuredStore) Publish(snapshot raft.Snapshot) error {
	defer observe(s.metrics.snapshot.WithLabelValues("publish"), time.Now())
	return s.Store.Publish(snapshot)
}

func (s measuredStore) Gather(g raft.Gathered) error {
	defer observe(s.metrics.snapshot.WithLabelValues("gather"), time.Now())
	return s.Store.Gather(g)
}

func (s measuredStore) Install(snapshot raft.Snapshot, hs *raft.HardState) error {
	defer observe(s.metrics.snapshot.WithLabelValues("install"), time.Now())
	return s.Store.Install(snapshot, hs)
}

func (s measuredStore) Compact(base raft.Base) error {
	defer observe(s.metrics.snapshot.WithLabelValues("compact"), time.Now())
	return s.Store.Compact(base)
}

func observe(o prometheus.Observer, begun time.Time) { o.Observe(time.Since(begun).Seconds()) }

// gauge is a figure that is asked for when it is collected.
type gauge[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

func newGauge[T any](name, help string, kind prometheus.ValueType, value func(T) float64) gauge[T] {
	return gauge[T]{prometheus.NewDesc("raftnode_"+name, help, nil, nil), kind, value}
}

// queues are what waits for a loop.
type queues struct {
	requests, messages int
	dropped            uint64
}

var statusGauges = []gauge[raft.Status]{
	newGauge("term", "Current term.", prometheus.GaugeValue, func(s raft.Status) float64 { return float64(s.Term) }),
	newGauge("role", "0 follower, 1 pre-candidate, 2 candidate, 3 leader.", prometheus.GaugeValue, func(s raft.Status) float64 { return float64(s.Role) }),
	newGauge("leader_known", "1 when a leader is known.", prometheus.GaugeValue, func(s raft.Status) float64 {
		if s.Leader == "" {
			return 0
		}
		return 1
	}),
	newGauge("commit_index", "Index of the last entry known to be committed.", prometheus.GaugeValue, func(s raft.Status) float64 { return float64(s.Commit) }),
	newGauge("applied_index", "Index of the last entry applied.", prometheus.GaugeValue, func(s raft.Status) float64 { return float64(s.Applied) }),
	newGauge("last_index", "Index of the last entry in the log.", prometheus.GaugeValue, func(s raft.Status) float64 { return float64(s.LastIndex) }),
}

var queueGauges = []gauge[queues]{
	newGauge("queued_requests", "Clients' requests that wait for the loop.", prometheus.GaugeValue, func(q queues) float64 { return float64(q.requests) }),
	newGauge("queued_messages", "Peers' messages that wait for the loop.", prometheus.GaugeValue, func(q queues) float64 { return float64(q.messages) }),
	newGauge("dropped_messages_total", "Peers' messages for which there was no room.", prometheus.CounterValue, func(q queues) float64 { return float64(q.dropped) }),
}

var leaderGauges = []gauge[uint64]{
	newGauge("leader_changes_total", "Leaders seen, each term's once.", prometheus.CounterValue, func(n uint64) float64 { return float64(n) }),
}

var busGauges = []gauge[bus.Stats]{
	newGauge("bus_sent_total", "Requests written to peers.", prometheus.CounterValue, func(s bus.Stats) float64 { return float64(s.Sent) }),
	newGauge("bus_frames_total", "Writes of requests to peers.", prometheus.CounterValue, func(s bus.Stats) float64 { return float64(s.FramesSent) }),
	newGauge("bus_received_total", "Requests from peers.", prometheus.CounterValue, func(s bus.Stats) float64 { return float64(s.Received) }),
	newGauge("bus_answers_total", "Answers from peers.", prometheus.CounterValue, func(s bus.Stats) float64 { return float64(s.Answers) }),
	newGauge("bus_timeouts_total", "Requests to peers without an answer in time.", prometheus.CounterValue, func(s bus.Stats) float64 { return float64(s.TimedOut) }),
	newGauge("bus_failures_total", "Requests to peers that failed otherwise.", prometheus.CounterValue, func(s bus.Stats) float64 { return float64(s.Failed) }),
	newGauge("bus_streams_total", "Streams opened to peers.", prometheus.CounterValue, func(s bus.Stats) float64 { return float64(s.Streams) }),
	newGauge("bus_resets_total", "Streams to peers given up because nothing came back.", prometheus.CounterValue, func(s bus.Stats) float64 { return float64(s.Resets) }),
	newGauge("bus_connected_peers", "Peers to which a stream is open.", prometheus.GaugeValue, func(s bus.Stats) float64 { return float64(s.Connected) }),
}

func describe[T any](ch chan<- *prometheus.Desc, gauges []gauge[T]) {
	for _, g := range gauges {
		ch <- g.desc
	}
}

func collect[T any](ch chan<- prometheus.Metric, gauges []gauge[T], from T) {
	for _, g := range gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(from))
	}
}

// collector asks the node for its figures whenever somebody looks.
type collector struct{ server *Server }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, queueGauges)
	describe(ch, busGauges)
	describe(ch, statusGauges)
	describe(ch, leaderGauges)
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	var q queues
	q.requests, q.messages, q.dropped = c.server.loop.waiting()
	collect(ch, queueGauges, q)
	if c.server.o.BusStats != nil {
		collect(ch, busGauges, c.server.o.BusStats())
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	if s, err := c.server.loop.Status(ctx); err == nil {
		collect(ch, statusGauges, s.Status)
		collect(ch, leaderGauges, c.server.loop.leaders.Load())
	}
}
