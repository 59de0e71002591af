import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import mqttPacket from 'mqtt-packet'
import { createToken, formatTokenFile } from '../src/admin/access/tokens.ts'
import { median, report } from './harness.ts'

/**
 * One cell: CPU of a broker process per message at a steady rate, without observers and with those of an operator: the
 * overview of the dashboard and `topicgate tail`, in turns. Arguments: messages a second, percent of them refused, pairs
 * of slices.
 */
const [rate, refusedPercent, pairs] = process.argv.slice(2).map(Number) as [number, number, number]
const CLIENTS = 100
const SLICE_MS = 1_500
/** After observers have come or gone. */
const SETTLING_MS = 200
const BURST_MS = 5
const MAX_UNSENT_BYTES = 65_536
/** Compiles the broker's code. */
const WARM_UP_MS = 6_000
/** What the overview page of the dashboard reads, and how often. */
const POLLED: readonly (readonly [path: string, everyMs: number])[] = [
  ['status', 5_000],
  ['summary?range=1h', 1_500],
  ['senders?range=1h', 1_500],
  ['series?of=total&step=10s&for=15m', 10_000],
  ['audit?limit=200', 30_000],
  ['alerts', 30_000],
]

const folder = join(tmpdir(), `topicgate-observers-${process.pid}`)
const { token, entry } = createToken('bench', 'viewer')
writeFileSync(`${folder}.tokens`, formatTokenFile([entry]), { mode: 0o600 })
writeFileSync(
  `${folder}.yaml`,
  `version: 1
rules:
  - { name: per-client, topic: 'fleet/#', per: client, limit: 10000/s }
  - { name: per-site, topic: 'fleet/{site}/#', per: site, limit: 1000000/s }
  - { name: flood, topic: 'flood/#', per: client, limit: 1/s, exceeded: drop }
`,
)

const broker = startBroker()
const { port, url } = await addressesOf(broker)
const publishers = await Promise.all(Array.from({ length: CLIENTS }, (_, index) => openPublisher(index)))
let sent = 0
const traffic = startTraffic()
/** The dashboard reads on during slices without observers, unsent, so that slices meet each resource as often as a page does. */
let isObserved = false
const polls = POLLED.map(([path, everyMs]) => setInterval(() => void (isObserved && get(path)), everyMs))
await wait(WARM_UP_MS)

const costs: Record<'alone' | 'observed', number[]> = { alone: [], observed: [] }
const ratios: number[] = []
const rates: number[] = []
for (let pair = 0; pair < pairs; pair++) {
  const order = pair % 2 === 0 ? (['alone', 'observed'] as const) : (['observed', 'alone'] as const)
  const found = { alone: 0, observed: 0 }
  for (const subject of order) {
    const stop = subject === 'observed' ? startObservers() : () => {}
    await wait(SETTLING_MS)
    found[subject] = await measureSlice()
    stop()
    costs[subject].push(found[subject])
  }
  ratios.push(found.observed / found.alone)
}
for (const timer of [traffic, ...polls]) clearInterval(timer)
for (const { socket } of publishers) socket.destroy()
broker.kill()
report({
  aloneNs: median(costs.alone),
  observedNs: median(costs.observed),
  ratio: median(ratios),
  totalRatio: sumOf(costs.observed) / sumOf(costs.alone),
  perSecond: median(rates),
})

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}

function startBroker(): ChildProcess {
  const cli = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))
  const admin = ['--admin', '127.0.0.1:0', '--admin-tokens', `${folder}.tokens`]
  const args = ['broker', `${folder}.yaml`, '--port', '0', ...admin, '--analytics-store', 'none', '--json']
  return spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
}

function addressesOf({ stdout }: ChildProcess): Promise<{ readonly port: number; readonly url: string }> {
  return new Promise(resolve => {
    let text = ''
    stdout!.on('data', (chunk: Buffer) => {
      text += String(chunk)
      const [, mqttPort, adminUrl] = /ready: mqtt:\/\/127\.0\.0\.1:(\d+) (http:[^\s"]+)/.exec(text) ?? []
      if (adminUrl !== undefined) resolve({ port: Number(mqttPort), url: adminUrl })
    })
  })
}

interface Publisher {
  readonly socket: Socket
  readonly packet: Buffer
}

async function openPublisher(index: number): Promise<Publisher> {
  const clientId = `client-${index}`
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => {})
  socket.write(mqttPacket.generate({ cmd: 'connect', clientId, clean: true, keepalive: 0 }))
  const isFlooder = index < (CLIENTS * refusedPercent) / 100
  const topic = isFlooder ? `flood/${clientId}` : `fleet/site-${index % 20}/${clientId}/telemetry`
  const payload = Buffer.alloc(100, 'x')
  const packet = mqttPacket.generate({ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false })
  await once(socket, 'data')
  return { socket, packet }
}

/** Publishes at the rate from now on; what a late timer missed is made up for. */
function startTraffic(): NodeJS.Timeout {
  const beganMs = performance.now()
  return setInterval(() => {
    const due = Math.floor(((performance.now() - beganMs) * rate) / 1_000) - sent
    const each = Math.floor(due / CLIENTS)
    if (each === 0) return
    for (const { socket, packet } of publishers) {
      // On a busy machine the broker may lag behind; then less is sent.
      if (socket.writableLength < MAX_UNSENT_BYTES)
        socket.write(each === 1 ? packet : Buffer.concat(Array.from({ length: each }, () => packet)))
    }
    sent += each * CLIENTS
  }, BURST_MS)
}

/** Returns the CPU time of the broker per message in one slice, in nanoseconds. */
async function measureSlice(): Promise<number> {
  const before = await countDecisions()
  const [beganMs, beforeNs] = [performance.now(), readCpuNs()]
  await wait(SLICE_MS)
  const [spentMs, spentNs] = [performance.now() - beganMs, readCpuNs() - beforeNs]
  // What was decided, and not what was sent: on a busy machine the broker may lag behind.
  const decisions = (await countDecisions()) - before
  rates.push((1_000 * decisions) / spentMs)
  return spentNs / decisions
}

async function countDecisions(): Promise<number> {
  const [answer] = (await once(get('summary', false), 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of answer) text += String(chunk)
  return (JSON.parse(text) as { readonly total: number }).total
}

/** Returns the CPU time of all threads of the broker. */
function readCpuNs(): number {
  const tasks = `/proc/${broker.pid}/task`
  const spent = readdirSync(tasks).map(task => readFileSync(`${tasks}/${task}/schedstat`, 'utf8'))
  return spent.reduce((sum, text) => sum + Number(text.split(' ')[0]), 0)
}

/** Opens the event streams of a dashboard and of `topicgate tail`. Returns a function that closes them. */
function startObservers(): () => void {
  isObserved = true
  const streams = ['events', 'events?types=refusal'].map(path => get(path))
  return () => {
    isObserved = false
    for (const stream of streams) stream.destroy()
  }
}

/** Sends a request; its answer is read and not looked at, unless `isDrained` is false. */
function get(path: string, isDrained = true): ClientRequest {
  const headers = { authorization: `Bearer ${token}` }
  const asked = request(`${url}/api/v1/${path}`, { headers, agent: false })
  asked.on('response', answer => {
    answer.on('error', () => {})
    if (isDrained) answer.resume()
  })
  asked.on('error', () => {})
  asked.end()
  return asked
}
