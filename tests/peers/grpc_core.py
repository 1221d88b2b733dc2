"""A client and server of gRPC's own with xDS, on the C core: told what to do line by line, as are `grpc_node.js` and
`grpc_go/main.go`. The bootstrap is in the file that GRPC_XDS_BOOTSTRAP names.

Prints {"csds": PORT} first: there it serves its own CSDS. Then reads JSON lines and answers each with one:

    {"do": "open", "channel": NAME, "target": "xds:///..."}  -> {}
    {"do": "call", "channel": NAME, "method": "/echo.Echo/Who", "headers": {...}, "count": N, "seconds": S}
        -> {"answers": {BODY: HOW OFTEN}, "errors": {"CODE: MESSAGE": HOW OFTEN}}
    {"do": "flow", "channel": NAME, "method": ...}     calls one after another from now on -> {}
    {"do": "stop"}                                     ends that: answers and errors as above, of all its calls
    {"do": "serve", "name": NAME}                      an xDS-enabled server that answers NAME -> {"address": "IP:PORT"}

Channels take the credentials that xDS gives them, else none.
"""
import collections
import json
import socket
import sys
import threading
import time
from concurrent import futures

import grpc
import grpc.experimental
import grpc_csds

channels = {}
servers = []
flow = None


class Tally:
    def __init__(self):
        self.answers, self.errors = collections.Counter(), collections.Counter()
        self.lock = threading.Lock()

    def call(self, method, seconds, metadata):
        try:
            body = method(b"", timeout=seconds, metadata=metadata)
            with self.lock:
                self.answers[body.decode()] += 1
        except grpc.RpcError as error:
            with self.lock:
                self.errors["%s: %s" % (error.code().name, error.details())] += 1

    def report(self):
        return {"answers": self.answers, "errors": self.errors}


class Flow:
    def __init__(self, method):
        self.method, self.tally, self.ended = method, Tally(), threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.is_set():
            self.tally.call(self.method, 10, None)
            time.sleep(0.002)

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.tally.report()


class Named(grpc.GenericRpcHandler):
    """Answers every unary call with a name."""

    def __init__(self, name):
        self.name = name

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.name.encode())


def pool():
    return futures.ThreadPoolExecutor(max_workers=8)


def method(ask):
    return channels[ask["channel"]].unary_unary(ask["method"])


def open_channel(ask):
    credentials = grpc.xds_channel_credentials(grpc.experimental.insecure_channel_credentials())
    channels[ask["channel"]] = grpc.secure_channel(ask["target"], credentials)
    return {}


def call(ask):
    tally, metadata = Tally(), list(ask.get("headers", {}).items())
    with pool() as workers:
        for _ in range(ask.get("count", 1)):
            workers.submit(tally.call, method(ask), ask["seconds"], metadata)
    return tally.report()


def start_flow(ask):
    global flow
    flow = Flow(method(ask))
    return {}


def serve(ask):
    # The address is part of the listener's name and must be known before: it is kept free for this process.
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
        server = grpc.server(pool(), handlers=[Named(ask["name"])], xds=True)
        server.add_secure_port(address, grpc.xds_server_credentials(grpc.insecure_server_credentials()))
        server.start()
    servers.append(server)
    return {"address": address}


ACTIONS = {"open": open_channel, "call": call, "flow": start_flow, "serve": serve}

admin = grpc.server(pool())
grpc_csds.add_csds_servicer(admin)
print(json.dumps({"csds": admin.add_insecure_port("127.0.0.1:0")}), flush=True)
admin.start()
for line in sys.stdin:
    ask = json.loads(line)
    print(json.dumps(flow.stop() if ask["do"] == "stop" else ACTIONS[ask["do"]](ask)), flush=True)
