// go-control-plane's xDS server, for the conformance kit: content by POST /update, as the kit's HttpFixture documents it.
//
//	go_control_plane -cache ads|snapshot|linear
//
// ads is the snapshot cache in its ADS mode, snapshot the same without, linear one linear cache for each type behind a
// mux. Every node sees the same. Prints {"xds": PORT, "http": PORT} first.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	clusterservice "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointservice "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listenerservice "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routeservice "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
)

var kinds = []string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType}

// content is what is served: by type and name.
type content map[string]map[string]types.ResourceWithTTL

// publish makes the server serve all, of which the types in changed are not as they were.
type publish func(all content, changed map[string]bool) error

type everyone struct{}

func (everyone) ID(*corev3.Node) string { return "everyone" }

// snapshots gives each type a version of its own, which counts its changes.
func snapshots(ctx context.Context, ads bool) (cache.Cache, publish) {
	snapshots := cache.NewSnapshotCacheWithHeartbeating(ctx, ads, everyone{}, nil, 500*time.Millisecond)
	versions := map[string]int{}
	return snapshots, func(all content, changed map[string]bool) error {
		snapshot := &cache.Snapshot{}
		for _, kind := range kinds {
			if changed[kind] {
				versions[kind]++
			}
			var resources []types.ResourceWithTTL
			for _, one := range all[kind] {
				resources = append(resources, one)
			}
			version := strconv.Itoa(versions[kind])
			snapshot.Resources[cache.GetResponseType(kind)] = cache.NewResourcesWithTTL(version, resources)
		}
		return snapshots.SetSnapshot(ctx, "everyone", snapshot)
	}
}

func linear() (cache.Cache, publish) {
	caches := map[string]cache.Cache{}
	for _, kind := range kinds {
		caches[kind] = cache.NewLinearCache(kind)
	}
	mux := &cache.MuxCache{
		Classify:      func(r *cache.Request) string { return r.GetTypeUrl() },
		ClassifyDelta: func(r *cache.DeltaRequest) string { return r.GetTypeUrl() },
		Caches:        caches,
	}
	before := content{}
	return mux, func(all content, changed map[string]bool) error {
		for kind := range changed {
			put, gone := map[string]types.Resource{}, []string{}
			for name, one := range all[kind] {
				if before[kind][name] != one {
					put[name] = one.Resource
				}
			}
			for name := range before[kind] {
				if _, there := all[kind][name]; !there {
					gone = append(gone, name)
				}
			}
			before[kind] = map[string]types.ResourceWithTTL{}
			for name, one := range all[kind] {
				before[kind][name] = one
			}
			if err := caches[kind].(*cache.LinearCache).UpdateResources(put, gone); err != nil {
				return err
			}
		}
		return nil
	}
}

type update struct {
	Put    []json.RawMessage `json:"put"`
	Remove []struct {
		TypeURL string `json:"type_url"`
		Name    string `json:"name"`
	} `json:"remove"`
	TTL string `json:"ttl"`
}

// apply changes all, and tells the types that changed.
func (u update) apply(all content) (map[string]bool, error) {
	changed := map[string]bool{}
	var ttl *time.Duration
	if u.TTL != "" {
		parsed, err := time.ParseDuration(u.TTL)
		if err != nil {
			return nil, err
		}
		ttl = &parsed
	}
	for _, raw := range u.Put {
		any := &anypb.Any{}
		if err := protojson.Unmarshal(raw, any); err != nil {
			return nil, err
		}
		message, err := any.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		all[any.GetTypeUrl()][cache.GetResourceName(message)] = types.ResourceWithTTL{Resource: message, TTL: ttl}
		changed[any.GetTypeUrl()] = true
	}
	for _, key := range u.Remove {
		delete(all[key.TypeURL], key.Name)
		changed[key.TypeURL] = true
	}
	return changed, nil
}

func main() {
	which := flag.String("cache", "ads", "ads, snapshot or linear")
	flag.Parse()
	ctx := context.Background()
	var served cache.Cache
	var serve publish
	if *which == "linear" {
		served, serve = linear()
	} else {
		served, serve = snapshots(ctx, *which == "ads")
	}
	all := content{}
	for _, kind := range kinds {
		all[kind] = map[string]types.ResourceWithTTL{}
	}
	if err := serve(all, map[string]bool{}); err != nil {
		log.Fatal(err)
	}

	grpcServer := grpc.NewServer()
	xds := server.NewServer(ctx, served, nil)
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, xds)
	clusterservice.RegisterClusterDiscoveryServiceServer(grpcServer, xds)
	endpointservice.RegisterEndpointDiscoveryServiceServer(grpcServer, xds)
	listenerservice.RegisterListenerDiscoveryServiceServer(grpcServer, xds)
	routeservice.RegisterRouteDiscoveryServiceServer(grpcServer, xds)

	var mu sync.Mutex
	http.HandleFunc("POST /update", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var change update
		if err == nil {
			err = json.Unmarshal(body, &change)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if change.TTL != "" && *which == "linear" {
			http.Error(w, "a linear cache has no TTLs", http.StatusNotImplemented)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		changed, err := change.apply(all)
		if err == nil {
			err = serve(all, changed)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})

	xdsListener, httpListener := listen(), listen()
	fmt.Printf("{\"xds\": %d, \"http\": %d}\n", port(xdsListener), port(httpListener))
	go func() { log.Fatal(grpcServer.Serve(xdsListener)) }()
	log.Fatal(http.Serve(httpListener, nil))
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func port(listener net.Listener) int { return listener.Addr().(*net.TCPAddr).Port }
