"""PyPI's socket.io-emitter: publishes a line of standard input, {rooms, namespace, event, args}; args is a Python list."""

import json
import sys
from datetime import datetime

import redis
from socket_io_emitter import Emitter

io = Emitter({"client": redis.Redis(port=int(sys.argv[1]))})
for line in sys.stdin:
    it = json.loads(line)
    for room in it["rooms"]:
        io.To(room)
    io.Of(it["namespace"]).Emit(it["event"], *eval(it["args"], {"datetime": datetime}))
    print("done", flush=True)
