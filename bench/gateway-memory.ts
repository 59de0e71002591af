import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type GatewaySubject, serveSubject } from './gateway-subjects.ts'
import { measureMemory, report } from './harness.ts'
import { readRssBytes } from './process-figures.ts'

/** Memory of a proxy or gateway per idle MQTT client with its connection to the broker. Arguments: subject, clients. */
const [subject, clients] = process.argv.slice(2) as [GatewaySubject, string]
const WARM_UP = 500

const sink = fork(fileURLToPath(new URL('./gateway-sink.js', import.meta.url)))
const [sinkPort] = (await once(sink, 'message')) as [number]
const { pid, port, close } = await serveSubject('mqtt', subject, sinkPort)

/** Connects clients that send nothing. */
async function connectClients(count: number): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('./flood.js', import.meta.url)), [
    String(port),
    String(count),
    '0',
    '0',
  ])
  await once(child, 'message')
  return child
}

function measure(): { readonly heap: number; readonly rss: number } {
  return pid === undefined ? measureMemory() : { heap: 0, rss: readRssBytes(pid) }
}

const children = [await connectClients(WARM_UP)]
const before = measure()
children.push(await connectClients(Number(clients)))
const after = measure()
for (const child of [...children, sink]) child.send('end')
close()
report({
  heapBytes: (after.heap - before.heap) / Number(clients),
  rssBytes: (after.rss - before.rss) / Number(clients),
})
