"""A client of a mesh control plane on Google's own gRPC stack: certificate service and ADS, told what to do line by line.

    foreign_client.py ADDRESS ROOTS

Reads JSON lines and answers each with one. "as" names the client certificate: a path without its ending, PATH.pem and
PATH.key; without it none is shown. Streams of one certificate share a connection.

    {"do": "jwt", "key": FILE, "like": TOKEN, "claims": {...}}       -> {"token": ...}
    {"do": "csr", "csr": TEXT, "token": ..., "as": ..., "raw": HEX}  -> {"code": ..., "message": ..., "chain": [...]}
    {"do": "open", "stream": NAME, "variant": "sotw"|"delta", "as": ...}
    {"do": "send", "stream": NAME, "type": URL, "node": {...}, "nonce": ..., "version": ..., "names": [...], "pad": N,
     "error": TEXT}
    {"do": "next", "stream": NAME, "seconds": N}
        -> {"type": ..., "nonce": ..., "version": ..., "names": [...]} or {"code": ..., "message": ...} or {"code": null}
"""
import base64
import json
import queue
import subprocess
import sys
import threading

import grpc
from google.protobuf import json_format
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.rpc import status_pb2

ADDRESS, ROOTS = sys.argv[1], open(sys.argv[2], "rb").read()
CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
PREFIX = "type.googleapis.com/envoy.config."
KINDS = {
    PREFIX + "cluster.v3.Cluster": cluster_pb2.Cluster,
    PREFIX + "listener.v3.Listener": listener_pb2.Listener,
}
channels, streams = {}, {}


def channel(name):
    if name not in channels:
        key, chain = (open(name + end, "rb").read() for end in (".key", ".pem")) if name else (None, None)
        credentials = grpc.ssl_channel_credentials(ROOTS, key, chain)
        options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        channels[name] = grpc.secure_channel(ADDRESS, credentials, options)
    return channels[name]


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def der_integers(der):
    """The two numbers of an ECDSA signature, 32 bytes each."""
    at, found = 2, b""
    for _ in range(2):
        length = der[at + 1]
        found += der[at + 2:at + 2 + length].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + length
    return found


def jwt(ask):
    """A token like another, with other claims, signed with the same key by OpenSSL."""
    header, claims, _ = ask["like"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "=="))
    claims.update(ask["claims"])
    text = header + "." + base64url(json.dumps(claims).encode())
    signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", ask["key"]], input=text.encode(),
                            stdout=subprocess.PIPE, check=True)
    return {"token": text + "." + base64url(der_integers(signed.stdout))}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def fields(data):
    """Contents of the length-delimited fields of a message that has no others."""
    at = 0
    while at < len(data):
        length, shift, at = 0, 0, at + 1
        while True:
            byte = data[at]
            length, shift, at = length | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                break
        yield data[at:at + length]
        at += length


def csr(ask):
    """IstioCertificateRequest { string csr = 1; } -> IstioCertificateResponse { repeated string cert_chain = 1; }"""
    text = ask.get("csr", "").encode()
    message = bytes.fromhex(ask["raw"]) if "raw" in ask else b"\x0a" + varint(len(text)) + text
    metadata = [("authorization", "Bearer " + ask["token"])] if "token" in ask else []
    call = channel(ask.get("as")).unary_unary(CREATE)
    try:
        answer = call(message, metadata=metadata, timeout=20)
        return {"code": "OK", "message": "", "chain": [c.decode() for c in fields(answer)]}
    except grpc.RpcError as error:
        return ending(error)


def ending(error):
    return {"code": error.code().name, "message": error.details()}


class Stream:
    def __init__(self, ask):
        self.delta = ask.get("variant") == "delta"
        self.requests, self.answers = queue.Queue(), queue.Queue()
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel(ask.get("as")))
        call = stub.DeltaAggregatedResources if self.delta else stub.StreamAggregatedResources
        responses = call(iter(self.requests.get, None))
        threading.Thread(target=self.read, args=(responses,), daemon=True).start()

    def read(self, responses):
        try:
            for response in responses:
                self.answers.put(self.describe(response))
            self.answers.put({"code": "OK", "message": ""})
        except grpc.RpcError as error:
            self.answers.put(ending(error))

    def describe(self, response):
        if self.delta:
            names, version = [r.name for r in response.resources], response.system_version_info
        else:
            names = [KINDS[response.type_url].FromString(r.value).name for r in response.resources]
            version = response.version_info
        return {"type": response.type_url, "nonce": response.nonce, "version": version, "names": names}

    def send(self, ask):
        names = list(ask.get("names", []))
        if "pad" in ask:
            names.append("x" * ask["pad"])
        node = json_format.ParseDict(ask["node"], base_pb2.Node()) if "node" in ask else None
        error = status_pb2.Status(code=3, message=ask["error"]) if "error" in ask else None
        common = {"node": node, "type_url": ask["type"], "response_nonce": ask.get("nonce", ""), "error_detail": error}
        if self.delta:
            request = discovery_pb2.DeltaDiscoveryRequest(resource_names_subscribe=names, **common)
        else:
            request = discovery_pb2.DiscoveryRequest(
                resource_names=names, version_info=ask.get("version", ""), **common)
        self.requests.put(request)
        return {}

    def next(self, ask):
        try:
            return self.answers.get(timeout=ask["seconds"])
        except queue.Empty:
            return {"code": None}


def answer(ask):
    if ask["do"] == "jwt":
        return jwt(ask)
    if ask["do"] == "csr":
        return csr(ask)
    if ask["do"] == "open":
        streams[ask["stream"]] = Stream(ask)
        return {}
    return getattr(streams[ask["stream"]], {"send": "send", "next": "next"}[ask["do"]])(ask)


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
