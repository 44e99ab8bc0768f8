package runner

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
)

// oneNode is a cluster of a node at a URL.
type oneNode struct {
	cluster.Cluster
	url string
}

func (c oneNode) Nodes() []cluster.Node { return []cluster.Node{{ID: "n1", ClientURL: c.url}} }

// A run by gRPC stays one, also after the node was asked for its status by HTTP. Catches a run that tests another API
// than it says.
func TestNodesAreAskedByTheAPIThatWasChosen(t *testing.T) {
	var byHTTP atomic.Int64
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/kv/") {
			byHTTP.Add(1)
		}
		io.WriteString(w, `{"id":"n1","key":"k","node":"n1"}`)
	}))
	defer node.Close()
	for api, want := range map[string]int64{HTTP: 2, GRPC: 0} {
		byHTTP.Store(0)
		n, err := newNodes(oneNode{url: node.URL}, api)
		require.NoError(t, err)
		defer n.Close()
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err = n.client.Read(ctx, "n1", "k")
			cancel()
			require.Equal(t, api == HTTP, err == nil, "%v", err)
			_, err = n.status(t.Context(), n.cluster.Nodes()[0])
			require.NoError(t, err)
		}
		require.Equal(t, want, byHTTP.Load(), api)
	}
}
