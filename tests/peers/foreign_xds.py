"""A small xDS server on Google's own gRPC stack: ADS, state of the world and delta, over a folder of resources.

    foreign_xds.py FOLDER

FOLDER holds JSON files, each a list of resources with "@type". It is read again when a file changes. Prints JSON lines:
{"port": N} first, then {"event": "ack"|"nack", "type": ..., "version": ..., "message": ...} for each answer of a client,
and {"event": "stream", "node": ..., "initial": [...]} for each new stream.
"""
import hashlib
import json
import os
import queue
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2  # noqa: F401 (registers the type)
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

PREFIX = "type.googleapis.com/"
KINDS = {
    PREFIX + "envoy.config.cluster.v3.Cluster": (cluster_pb2.Cluster, "name"),
    PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment": (endpoint_pb2.ClusterLoadAssignment, "cluster_name"),
    PREFIX + "envoy.config.listener.v3.Listener": (listener_pb2.Listener, "name"),
    PREFIX + "envoy.config.route.v3.RouteConfiguration": (route_pb2.RouteConfiguration, "name"),
    PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret": (secret_pb2.Secret, "name"),
}
WILDCARD = tuple(t for t in KINDS if t.endswith((".Cluster", ".Listener")))
ORDER = list(KINDS)
out_lock = threading.Lock()


def say(**facts):
    with out_lock:
        print(json.dumps(facts), flush=True)


def load(folder):
    """{type: {name: (version, Any)}}"""
    found = {t: {} for t in KINDS}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".json"):
            continue
        with open(os.path.join(folder, name)) as f:
            resources = json.load(f)
        for resource in resources:
            type_url = resource.pop("@type")
            message, key = KINDS[type_url]
            parsed = json_format.ParseDict(resource, message())
            value = parsed.SerializeToString(deterministic=True)
            version = hashlib.sha256(value).hexdigest()[:12]
            found[type_url][getattr(parsed, key)] = (version, Any(type_url=type_url, value=value))
    return found


class Server(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    def __init__(self, folder):
        self.folder = folder
        self.resources = load(folder)
        self.streams = set()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        before = self.stamp()
        while True:
            time.sleep(0.05)
            now = self.stamp()
            if now != before:
                try:
                    self.resources = load(self.folder)
                except (ValueError, json_format.ParseError) as error:
                    say(event="unreadable", message=str(error))
                    continue
                before = now
                for stream in list(self.streams):
                    stream.put(None)

    def stamp(self):
        return [(n, os.stat(os.path.join(self.folder, n)).st_mtime_ns) for n in sorted(os.listdir(self.folder)) if n.endswith(".json")]

    def events(self, requests, context):
        """Requests of the client, and None when the folder changed."""
        events = queue.Queue()

        def read():
            try:
                for request in requests:
                    events.put(request)
            except grpc.RpcError:
                pass
            events.put(StopIteration)

        threading.Thread(target=read, daemon=True).start()
        self.streams.add(events)
        try:
            while True:
                event = events.get()
                if event is StopIteration:
                    return
                yield event
        finally:
            self.streams.discard(events)

    def heard(self, request, version):
        if request.response_nonce:
            if request.HasField("error_detail"):
                say(event="nack", type=request.type_url, version=version, message=request.error_detail.message)
            else:
                say(event="ack", type=request.type_url, version=version)

    def StreamAggregatedResources(self, requests, context):
        subscribed, sent, nonce = {}, {}, 0
        for event in self.events(requests, context):
            if event is not None:
                if not sent and not subscribed:
                    say(event="stream", node=event.node.id, protocol="sotw")
                self.heard(event, event.version_info)
                if event.type_url in KINDS:
                    changed = subscribed.get(event.type_url) != list(event.resource_names)
                    subscribed[event.type_url] = list(event.resource_names)
                    if changed:
                        sent.pop(event.type_url, None)
            for type_url in [t for t in ORDER if t in subscribed]:
                names = subscribed[type_url]
                every = not names and type_url in WILDCARD
                chosen = {n: r for n, r in self.resources[type_url].items() if every or n in names}
                state = sorted((n, v) for n, (v, _) in chosen.items())
                if sent.get(type_url) == state:
                    continue
                sent[type_url] = state
                nonce += 1
                version = hashlib.sha256(repr(state).encode()).hexdigest()[:12]
                yield discovery_pb2.DiscoveryResponse(
                    version_info=version, type_url=type_url, nonce=str(nonce), resources=[r for _, r in chosen.values()])

    def DeltaAggregatedResources(self, requests, context):
        subscribed, known, started, nonce = {}, {}, False, 0
        for event in self.events(requests, context):
            if event is not None:
                if not started:
                    started = True
                    say(event="stream", node=event.node.id, protocol="delta",
                        initial=sorted(event.initial_resource_versions))
                self.heard(event, "")
                if event.type_url in KINDS:
                    first = event.type_url not in subscribed
                    names = subscribed.setdefault(event.type_url, set())
                    names |= set(event.resource_names_subscribe)
                    names -= set(event.resource_names_unsubscribe)
                    if first and not names and event.type_url in WILDCARD:
                        names.add("*")
                    held = known.setdefault(event.type_url, {})
                    if first:
                        held.update(event.initial_resource_versions)
                    for name in event.resource_names_subscribe:
                        held.pop(name, None) if name != "*" else None
                        if name != "*" and name not in self.resources[event.type_url]:
                            held[name] = "absent"
                    for name in event.resource_names_unsubscribe:
                        held.pop(name, None)
            for type_url in [t for t in ORDER if t in subscribed]:
                names, held = subscribed[type_url], known[type_url]
                chosen = {n: r for n, r in self.resources[type_url].items() if "*" in names or n in names}
                new = {n: r for n, r in chosen.items() if held.get(n) != r[0]}
                gone = [n for n in held if n not in chosen]
                if not new and not gone:
                    continue
                for name in gone:
                    del held[name]
                held.update({n: v for n, (v, _) in new.items()})
                nonce += 1
                yield discovery_pb2.DeltaDiscoveryResponse(
                    type_url=type_url, nonce=str(nonce), system_version_info=str(nonce), removed_resources=gone,
                    resources=[discovery_pb2.Resource(name=n, version=v, resource=r) for n, (v, r) in new.items()])


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(Server(sys.argv[1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(port=port)
    server.wait_for_termination()


main()
