// Command node stands in for raftnode in tests of environments: it takes the same flags, answers
// HTTP, counts its lives in its data directory, and exits when told to.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	id := flag.String("id", "", "")
	listen := flag.String("listen-http", "", "")
	flag.String("listen-bus", "", "")
	flag.String("listen-gossip", "", "")
	flag.String("advertise", "", "")
	peers := flag.String("peers", "", "")
	flag.Bool("bootstrap", false, "")
	join := flag.Bool("join", false, "")
	data := flag.String("data", "", "")
	lose := flag.Bool("unsafe-lose-unsynced", false, "")
	flag.String("log-format", "", "")
	stop := flag.Int("stop-code", 0, "")
	extra := flag.String("extra", "", "")
	flag.Parse()

	lives := filepath.Join(*data, "lives")
	f, err := os.OpenFile(lives, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString("x")
	}
	if err != nil {
		fmt.Println("cannot count my lives:", err)
		os.Exit(4)
	}
	fmt.Println("node", *id, "begins")
	http.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		seen, _ := os.ReadFile(lives)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"id": *id, "lives": len(seen), "peers": *peers, "lose": *lose, "extra": *extra, "join": *join,
		})
	})
	http.HandleFunc("GET /fetch", func(w http.ResponseWriter, r *http.Request) {
		client := http.Client{Timeout: 500 * time.Millisecond}
		response, err := client.Get(r.URL.Query().Get("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		response.Body.Close()
	})
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		<-told
		fmt.Println("node", *id, "was told to stop")
		os.Exit(*stop)
	}()
	http.HandleFunc("POST /crash", func(http.ResponseWriter, *http.Request) {
		fmt.Println("panic: the test asked for it")
		os.Exit(7)
	})
	fmt.Println(http.ListenAndServe(*listen, nil))
	os.Exit(5)
}
