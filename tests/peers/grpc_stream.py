"""A gRPC server and clients of it on Google's own stack, to be joined by a proxy.

    grpc_stream.py serve                  prints {"port": N}, serves until its input ends
    grpc_stream.py call ADDRESS           makes calls through ADDRESS, prints one JSON object

The methods know no protobuf: messages are bytes.
"""
import json
import sys
from concurrent import futures

import grpc

METADATA = (("x-ask", "1"), ("x-bin-bin", b"\x00\xff"))


def echo(requests, context):
    """Each message as it comes, then trailers."""
    count = 0
    context.send_initial_metadata((("x-initial", "yes"),))
    for message in requests:
        count += 1
        yield message.upper()
    asked = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-count", str(count)), ("x-saw", asked.get("x-ask", "")),
                                   ("x-back-bin", asked.get("x-bin-bin", b""))))


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: 100 % ä")


def wait(request, context):
    context.add_callback(lambda: None)
    while context.is_active():
        if context.time_remaining() is not None and context.time_remaining() <= 0:
            break
        futures.wait([], timeout=0.01)
        yield b"tick"


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/t.T/Echo": grpc.stream_stream_rpc_method_handler(echo),
            "/t.T/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/t.T/Wait": grpc.unary_stream_rpc_method_handler(wait),
        }.get(details.method)


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=(Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(json.dumps({"port": port}), flush=True)
    sys.stdin.read()


def call(address):
    channel = grpc.insecure_channel(address)
    found = {}
    stream = channel.stream_stream("/t.T/Echo")
    # Each message is sent after the answer to the one before: nothing may be held back on the way.
    answers = []

    class Turns:
        def __init__(self):
            self.left = [b"a", b"b" * 100000, b"c"]

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            return self.left.pop(0)

    calls = stream(Turns(), metadata=METADATA, timeout=20)
    for answer in calls:
        answers.append(len(answer))
    trailers = dict(calls.trailing_metadata())
    found["echo"] = {
        "sizes": answers, "code": calls.code().name, "initial": dict(calls.initial_metadata()).get("x-initial"),
        "count": trailers.get("x-count"), "saw": trailers.get("x-saw"),
        "binary": trailers.get("x-back-bin", b"").hex(),
    }
    try:
        channel.unary_unary("/t.T/Fail")(b"x", timeout=20)
    except grpc.RpcError as error:
        found["fail"] = {"code": error.code().name, "details": error.details(),
                         "why": dict(error.trailing_metadata()).get("x-why")}
    waiting = channel.unary_stream("/t.T/Wait")(b"x", timeout=20)
    next(waiting)
    waiting.cancel()
    found["cancelled"] = waiting.code().name
    try:
        for _ in channel.unary_stream("/t.T/Wait")(b"x", timeout=0.3):
            pass
    except grpc.RpcError as error:
        found["late"] = error.code().name
    try:
        channel.unary_unary("/t.T/None")(b"x", timeout=20)
    except grpc.RpcError as error:
        found["none"] = error.code().name
    print(json.dumps(found), flush=True)


if sys.argv[1] == "serve":
    serve()
else:
    call(sys.argv[2])
