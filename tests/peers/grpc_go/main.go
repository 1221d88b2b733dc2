// A client and server of gRPC's own with xDS, in Go: told what to do line by line, as ../grpc_core.py says.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	statuspb "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/xds"
	"google.golang.org/grpc/xds/csds"
)

type ask struct {
	Do, Channel, Target, Method, Name string
	Headers                           map[string]string
	Count                             int
	Seconds                           float64
}

// The codec of bodies that are bytes.
type raw struct{}

func (raw) Name() string                  { return "raw" }
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

type tally struct {
	lock    sync.Mutex
	Answers map[string]int `json:"answers"`
	Errors  map[string]int `json:"errors"`
}

func newTally() *tally { return &tally{Answers: map[string]int{}, Errors: map[string]int{}} }

func (t *tally) call(channel *grpc.ClientConn, a ask, seconds float64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.New(a.Headers))
	request, response := []byte{}, []byte{}
	err := channel.Invoke(ctx, a.Method, &request, &response, grpc.ForceCodec(raw{}))
	t.lock.Lock()
	defer t.lock.Unlock()
	if err == nil {
		t.Answers[string(response)]++
		return
	}
	s := status.Convert(err)
	t.Errors[fmt.Sprintf("%s: %s", names[s.Code()], s.Message())]++
}

var names = map[codes.Code]string{}

func init() {
	for _, name := range []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
		"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	} {
		var code codes.Code
		check(code.UnmarshalJSON([]byte(`"` + name + `"`)))
		names[code] = name
	}
}

type flow struct {
	tally *tally
	end   chan struct{}
	ended chan struct{}
}

func startFlow(channel *grpc.ClientConn, a ask) *flow {
	f := &flow{newTally(), make(chan struct{}), make(chan struct{})}
	go func() {
		defer close(f.ended)
		for {
			select {
			case <-f.end:
				return
			case <-time.After(2 * time.Millisecond):
				f.tally.call(channel, a, 10)
			}
		}
	}()
	return f
}

func (f *flow) stop() *tally {
	close(f.end)
	<-f.ended
	return f.tally
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return listener
}

// Serves this process's CSDS and gives its port.
func serveStatus() int {
	service, err := csds.NewClientStatusDiscoveryServer()
	check(err)
	server, listener := grpc.NewServer(), listen()
	statuspb.RegisterClientStatusDiscoveryServiceServer(server, service)
	go func() { check(server.Serve(listener)) }()
	return listener.Addr().(*net.TCPAddr).Port
}

// An xDS-enabled server that answers every unary call with a name.
func serve(name string) string {
	credentials, err := xdscreds.NewServerCredentials(xdscreds.ServerOptions{FallbackCreds: insecure.NewCredentials()})
	check(err)
	answer := func(_ any, stream grpc.ServerStream) error {
		request, response := []byte{}, []byte(name)
		if err := stream.RecvMsg(&request); err != nil && err != io.EOF {
			return err
		}
		return stream.SendMsg(&response)
	}
	server, err := xds.NewGRPCServer(grpc.Creds(credentials), grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(answer))
	check(err)
	listener := listen()
	go func() { check(server.Serve(listener)) }()
	return listener.Addr().String()
}

func main() {
	out := json.NewEncoder(os.Stdout)
	check(out.Encode(map[string]int{"csds": serveStatus()}))
	channels := map[string]*grpc.ClientConn{}
	var running *flow
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var a ask
		check(json.Unmarshal(lines.Bytes(), &a))
		var answer any = struct{}{}
		switch a.Do {
		case "open":
			credentials, err := xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: insecure.NewCredentials()})
			check(err)
			channels[a.Channel], err = grpc.NewClient(a.Target, grpc.WithTransportCredentials(credentials))
			check(err)
		case "call":
			counts, calls := newTally(), sync.WaitGroup{}
			for range max(a.Count, 1) {
				calls.Go(func() { counts.call(channels[a.Channel], a, a.Seconds) })
			}
			calls.Wait()
			answer = counts
		case "flow":
			running = startFlow(channels[a.Channel], a)
		case "stop":
			answer = running.stop()
		case "serve":
			answer = map[string]string{"address": serve(a.Name)}
		default:
			panic(a.Do)
		}
		check(out.Encode(answer))
	}
}
