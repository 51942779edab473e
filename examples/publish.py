"""Publish an event to a room of the cluster: publish.py ROOM EVENT [JSON]...   (pip install redis msgpack)"""

import json
import os
import sys

import msgpack
import redis

room, event, *args = sys.argv[1:]
packet = {"type": 2, "nsp": "/", "data": [event, *map(json.loads, args)]}
message = ["emitter", packet, {"rooms": [room], "except": [], "flags": {}}]

client = redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
client.publish(f"socket.io#/#{room}#", msgpack.packb(message))
