// The peer of the side-by-side run: go-control-plane's SnapshotCache over ADS, under the same control as xds-bench-server.
//
// Clusters cluster-0 to cluster-(n-1) of type EDS and an assignment of m endpoints for each, the same for every node. The
// control port takes POST /bump?mode=all|one, /add and /remove, each with an optional weight=W that the touched
// assignments get, and answers the version of the snapshot that holds the change.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const group = "everyone"

// sameForAll puts every node into one group.
type sameForAll struct{}

func (sameForAll) ID(*corev3.Node) string { return group }

// state is what is served. Types keep their version while none of their resources change.
type state struct {
	mu             sync.Mutex
	cache          cachev3.SnapshotCache
	endpoints      int
	clusters       []types.Resource
	assignments    []types.Resource
	version        int
	clusterVersion int
	weight         uint32
}

func main() {
	n := flag.Int("clusters", 1000, "clusters")
	m := flag.Int("endpoints", 10, "endpoints of each")
	port := flag.Int("port", 18000, "ADS port")
	control := flag.Int("http", 18001, "control port")
	flag.Parse()

	s := &state{cache: cachev3.NewSnapshotCache(true, sameForAll{}, nil), endpoints: *m, weight: 1}
	for i := 0; i < *n; i++ {
		s.clusters = append(s.clusters, cluster(i))
		s.assignments = append(s.assignments, assignment(i, *m, s.weight))
	}
	if err := s.publish(true); err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.ListenAndServe(local(*control), s.routes())) }()

	server := grpc.NewServer(grpc.MaxConcurrentStreams(1 << 20))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, serverv3.NewServer(context.Background(), s.cache, nil))
	listener, err := net.Listen("tcp", local(*port))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(listener))
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (s *state) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bump", s.change(func(r *http.Request) bool {
		count := len(s.assignments)
		if r.FormValue("mode") == "one" {
			count = 1
		}
		next := append([]types.Resource(nil), s.assignments...)
		for i := range count {
			next[i] = assignment(i, s.endpoints, s.weight)
		}
		s.assignments = next
		return false
	}))
	mux.HandleFunc("POST /add", s.change(func(*http.Request) bool {
		i := len(s.clusters)
		s.clusters = append(s.clusters, cluster(i))
		s.assignments = append(s.assignments, assignment(i, s.endpoints, s.weight))
		return true
	}))
	mux.HandleFunc("POST /remove", s.change(func(*http.Request) bool {
		s.clusters = s.clusters[:len(s.clusters)-1]
		s.assignments = s.assignments[:len(s.assignments)-1]
		return true
	}))
	return mux
}

// change wraps one kind of change; apply tells whether clusters changed too.
func (s *state) change(apply func(*http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.weight = uint32(s.version%100) + 2
		if given, err := strconv.ParseUint(r.FormValue("weight"), 10, 32); err == nil {
			s.weight = uint32(given)
		}
		if err := s.publish(apply(r)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, s.version)
	}
}

func (s *state) publish(clustersToo bool) error {
	s.version++
	if clustersToo {
		s.clusterVersion = s.version
	}
	snapshot := &cachev3.Snapshot{}
	snapshot.Resources[types.Cluster] = cachev3.NewResources(strconv.Itoa(s.clusterVersion), s.clusters)
	snapshot.Resources[types.Endpoint] = cachev3.NewResources(strconv.Itoa(s.version), s.assignments)
	return s.cache.SetSnapshot(context.Background(), group, snapshot)
}

func name(i int) string { return "cluster-" + strconv.Itoa(i) }

func cluster(i int) types.Resource {
	ads := &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
	return &clusterv3.Cluster{
		Name:                 name(i),
		ConnectTimeout:       durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads},
	}
}

func assignment(i, m int, weight uint32) types.Resource {
	var locality endpointv3.LocalityLbEndpoints
	for j := range m {
		address := &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address:       fmt.Sprintf("10.%d.%d.%d", i/256%256, i%256, j+1),
			PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 8080},
		}}}
		locality.LbEndpoints = append(locality.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
			LoadBalancingWeight: wrapperspb.UInt32(weight),
		})
	}
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: name(i),
		Endpoints:   []*endpointv3.LocalityLbEndpoints{&locality},
	}
}
