"""A channel of gRPC's C core that stays connected to a target: grpc_watch.py TARGET"""
import sys
import threading

import grpc

channel = grpc.insecure_channel(sys.argv[1])
channel.subscribe(lambda state: print(state, flush=True), try_to_connect=True)
threading.Event().wait()
