// An MQTT broker that accepts messages and delivers none; a process of its own, to be killed at any time. It appends each message to
// a file, and syncs the file, before it acknowledges. Arguments: port, file. Lines of the file are JSON: { client, text, qos, id, dup }
// for a message, { client, released } for a PUBREL, { client, opened } and { client, cleared } for sessions. Prints `ready` when it listens.
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs'
import { createServer } from 'node:net'
import mqtt from 'mqtt-packet'

const [port, file] = process.argv.slice(2)
/** Packet ids of QoS 2 without a PUBREL, by the client ids of persistent sessions. */
const sessions = new Map()
/** Open connections by client id. */
const connections = new Map()

/** Restores the sessions. A line that was cut off by a kill was not acknowledged, and is removed. */
function restore() {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const end = text.lastIndexOf('\n') + 1
  if (end < text.length) truncateSync(file, Buffer.byteLength(text.slice(0, end)))
  for (const line of text.slice(0, end).split('\n').slice(0, -1)) apply(JSON.parse(line))
}

function apply({ client, qos, id, released, cleared, opened }) {
  if (opened) sessions.set(client, new Set())
  else if (cleared) sessions.delete(client)
  else if (released !== undefined) sessions.get(client)?.delete(released)
  else if (qos === 2) sessions.get(client)?.add(id)
}

restore()
const descriptor = openSync(file, 'a')
process.once('exit', () => closeSync(descriptor))

let lines = []
let answers = []

/** Writes a line before the answer is sent. All lines of a turn are synced at once. */
function record(line, answer) {
  if (lines.length === 0) setImmediate(sync)
  lines.push(JSON.stringify(line))
  answers.push(answer)
  apply(line)
}

function sync() {
  const [written, sent] = [lines, answers]
  lines = []
  answers = []
  writeSync(descriptor, `${written.join('\n')}\n`)
  fsyncSync(descriptor)
  for (const answer of sent) answer()
}

createServer({ noDelay: true }, socket => {
  const parser = mqtt.parser()
  let client = ''
  let protocolVersion = 4
  /** Those of this connection's session, if it ends with it. */
  let ids = new Set()
  let isPersistent = false
  const send = packet => {
    if (socket.writable) socket.write(mqtt.generate(packet, { protocolVersion }))
  }
  const receive = {
    connect: packet => {
      client = packet.clientId
      protocolVersion = packet.protocolVersion
      parser.settings = { protocolVersion }
      connections.get(client)?.destroy()
      connections.set(client, socket)
      isPersistent = protocolVersion === 5 ? packet.properties?.sessionExpiryInterval > 0 : !packet.clean
      const isKnown = sessions.has(client)
      const sessionPresent = isKnown && !packet.clean
      const answer = () => {
        if (isPersistent) ids = sessions.get(client)
        const properties = protocolVersion === 5 ? { receiveMaximum: 20 } : undefined
        send({ cmd: 'connack', sessionPresent, returnCode: 0, reasonCode: 0, properties })
      }
      if (sessionPresent) answer()
      else record(isPersistent ? { client, opened: true } : { client, cleared: true }, answer)
    },
    publish: ({ topic, payload, qos, messageId: id, dup }) => {
      if (qos === 0) return
      const answer = () => send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId: id })
      if (qos === 2 && ids.has(id)) return answer()
      const line = { client, topic, text: payload.toString(), qos, id, dup }
      if (qos === 2 && !isPersistent) ids.add(id)
      record(line, answer)
    },
    pubrel: ({ messageId: id }) => {
      const answer = () => send({ cmd: 'pubcomp', messageId: id })
      if (!ids.has(id)) return answer()
      if (!isPersistent) ids.delete(id)
      record({ client, released: id }, answer)
    },
    pingreq: () => send({ cmd: 'pingresp' }),
    disconnect: () => socket.end(),
  }
  parser.on('packet', packet => receive[packet.cmd]?.(packet))
  parser.on('error', () => socket.destroy())
  socket.on('data', chunk => parser.parse(chunk))
  socket.on('error', () => {})
}).listen(Number(port), '127.0.0.1', () => console.log('ready'))
