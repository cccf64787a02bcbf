// A server that answers as Axle would to a plug-in schedule, at once or after a while, and costs next to nothing.
//
// fast_axle.py builds and starts it; it prints its address and serves until its standard input is closed.
// A path begins with the milliseconds that its answer takes: /50/entities/asset/a-1/event/plug-in-schedule.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const token = "fast-axle-token"

var (
	tokenAnswer = []byte(`{"access_token":"` + token + `","token_type":"bearer"}`)
	refusal     = []byte(`{"detail":"Not authenticated"}`)
)

func answer(out http.ResponseWriter, status int, body []byte) {
	out.Header().Set("Content-Type", "application/json")
	out.Header().Set("Content-Length", strconv.Itoa(len(body)))
	out.WriteHeader(status)
	_, _ = out.Write(body)
}

func main() {
	schedule, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "the answer to send cannot be read:", err)
		os.Exit(1)
	}
	serve := func(out http.ResponseWriter, in *http.Request) {
		_, _ = io.Copy(io.Discard, in.Body)
		first, path, _ := strings.Cut(strings.TrimPrefix(in.URL.Path, "/"), "/")
		if wait, err := strconv.Atoi(first); err == nil && wait > 0 {
			time.Sleep(time.Duration(wait) * time.Millisecond)
		}
		switch {
		case strings.HasPrefix(path, "auth/"):
			answer(out, 200, tokenAnswer)
		case in.Header.Get("Authorization") != "Bearer "+token:
			answer(out, 401, refusal)
		default:
			answer(out, 200, schedule)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot listen on loopback:", err)
		os.Exit(1)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	_ = http.Serve(listener, http.HandlerFunc(serve))
}
