// Middleware of your own, between the limits:  PORT=1883 node examples/custom-middleware.js
// Who is refused twenty times within ten seconds hears nothing but no for half a minute.
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { andThen, Gate, limit } from 'topicgate'
import { limitBroker } from 'topicgate/aedes'

const REFUSALS = 20
const WITHIN_MS = 10_000
const BAN_MS = 30_000

const gate = new Gate()
// By sender, which lives as long as its connection: nothing to sweep, nothing that grows with untrusted input.
const records = new WeakMap()

gate.use((message, next) => {
  const nowMs = gate.clock.now()
  const record = records.get(message.sender) ?? { refusals: 0, sinceMs: nowMs, untilMs: 0 }
  const leftMs = record.untilMs - nowMs
  if (leftMs > 0) {
    return { allowed: false, outcome: 'drop', reason: 'banned', rule: 'ban', retryAfterMs: leftMs }
  }
  // The rest of the chain answers at once with the memory store, by a promise if a network is asked.
  return andThen(next(), decision => {
    if (decision.allowed) return decision
    if (nowMs - record.sinceMs > WITHIN_MS) Object.assign(record, { refusals: 0, sinceMs: nowMs })
    if (++record.refusals === REFUSALS) {
      Object.assign(record, { refusals: 0, untilMs: nowMs + BAN_MS })
      console.log(`banned ${message.sender.client} for ${BAN_MS} ms`)
    }
    records.set(message.sender, record)
    return decision
  })
})
gate.use('fleet/#', limit({ name: 'fleet', limit: '1/s burst 10', per: 'client', exceeded: 'drop' }))

const broker = await Aedes.createBroker()
const limits = limitBroker(broker, gate)
const server = createServer({ noDelay: true }, socket => void broker.handle(socket))
server.listen(Number(process.env.PORT ?? 1883), '127.0.0.1', () => {
  console.log(`ready: mqtt://127.0.0.1:${Object(server.address()).port}`)
})

process.once('SIGTERM', () => {
  console.log(`ending: ${limits.stats().dropped} dropped`)
  server.close()
  broker.close(() => void gate.close())
})
