// Attacks a broker from a process of its own: reconnects `perSecond` times a second for `forMs`, each time as another client,
// claims to be an operator, marks all it sends as an emergency and forges whatever might let it pass.
// Arguments as JSON: { port, address, perSecond, forMs, messages }; tells what it tried when it has ended.
import { connect } from 'node:net'
import mqttPacket from 'mqtt-packet'

const { port, address, perSecond, forMs, messages } = JSON.parse(process.argv[2])
const FORGED = { 'x-bypass': 'a guess', tier: 'enterprise', priority: 'emergency', __proto__: 'x' }
const tried = { connects: 0, accepted: 0, refused: 0, cut: 0, messages: 0 }
// Sent before the connect is answered; aedes closes a connection that sends more than 42.
const EARLY = 20
const startMs = performance.now()

const timer = setInterval(() => {
  // What the timer has missed is made up for.
  const due = Math.floor(((performance.now() - startMs) / 1_000) * perSecond)
  while (tried.connects < Math.min(due, (forMs / 1_000) * perSecond)) attack(tried.connects++)
  if (performance.now() - startMs < forMs + 500) return
  clearInterval(timer)
  process.send?.(tried, () => process.exit(0))
}, 5)

function attack(number) {
  // Every tenth speaks MQTT 5, which has the headers that 3.1.1 has not.
  const protocolVersion = number % 10 === 9 ? 5 : 4
  const options = { protocolVersion }
  const parser = mqttPacket.parser(options)
  const socket = connect({ port, host: '127.0.0.1', localAddress: address })
  let answered = false
  socket.on('error', () => {})
  socket.on('data', chunk => parser.parse(chunk))
  socket.on('close', () => {
    if (!answered) tried.cut++
  })
  parser.on('error', () => {})
  parser.on('packet', ({ cmd, returnCode }) => {
    if (cmd !== 'connack') return
    answered = true
    if (returnCode === 0) {
      tried.accepted++
      socket.write(Buffer.concat(all.slice(EARLY)))
    } else tried.refused++
  })
  const hello = mqttPacket.generate({ ...greeting(number), protocolVersion }, options)
  const all = Array.from({ length: messages }, (_, index) =>
    mqttPacket.generate(forged(number, index), options),
  )
  tried.messages += messages
  socket.write(Buffer.concat([hello, ...all.slice(0, EARLY)]))
  setTimeout(() => socket.destroy(), 400)
}

function greeting(number) {
  // Now a new name, now one it had before, now that of somebody else.
  const names = [`evil-${number}`, `evil-${number}`, `evil-${number % 20}`, `good-${number % 10}`]
  return {
    ...{ cmd: 'connect', protocolId: 'MQTT', clean: true, keepalive: 0 },
    clientId: names[number % names.length],
    ...(number % 3 === 0 && { username: 'operator' }),
    properties: { userProperties: FORGED },
  }
}

function forged(number, index) {
  // One quality of service each: aedes itself loses some of what is mixed in one segment.
  const qos = number % 2
  const claims = { priority: 'emergency', tier: 'enterprise', roles: ['admin'], user: 'operator', n: index }
  return {
    ...{ cmd: 'publish', qos, messageId: index + 1, retain: qos === 1 && index % 7 === 0, dup: false },
    topic: `fleet/device-${number}-${index % 3}/data`,
    payload: JSON.stringify(claims),
    properties: { userProperties: FORGED },
  }
}
