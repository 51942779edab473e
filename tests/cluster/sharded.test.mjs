// Node servers with createShardedAdapter and Greyhound, on a Redis Cluster of three masters.
import { after, before, describe } from 'node:test'
import { essentials } from './essentials.mjs'
import { assembled, greyhound, shared, subscribed } from './greyhound.mjs'
import { allAlive, node } from './node.mjs'
import { cluster } from './redis.mjs'

for (const subscription of ['dynamic', 'static', 'dynamic-private']) {
  describe(`the sharded adapter and Greyhound, subscription = ${subscription}`, { concurrency: 4 }, () => {
    const all = shared()
    let servers, near, far, hound
    before(async () => {
      servers = await cluster(all)
      const peer = () => node(all, { client: 'redis-4', ports: servers.ports }, { sharded: true, adapter: { subscriptionMode: subscription } })
      ;[near, far, hound] = await Promise.all([peer(), peer(), greyhound(all, servers, { mode: 'sharded', subscription })])
      await assembled(servers, 3, { sharded: true })
    })
    after(() => all.end(async () => {
      allAlive([near, far])
      await hound.stop()
    }))
    // Node knows its rooms and leaves the joining of their channels to chance. The protocol has no question for all rooms.
    essentials(() => ({ near, far, hound }), {
      subscribed: (namespace, room, count) => subscription === 'static' || subscribed(servers, namespace, room, count),
      allRooms: false,
    })
  })
}
