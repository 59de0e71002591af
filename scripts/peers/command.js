// The command `topicgate broker`, which loads aedes, ws and pino, with a client over WebSocket.
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connectAsync } from 'mqtt'
import { expectEqual, until } from './checks.js'

writeFileSync(
  'policy.yaml',
  'version: 1\nrules:\n  - { name: all, per: client, limit: 2/day, exceeded: drop }\n',
)
const command = ['node_modules/topicgate/dist/src/cli/main.js', 'broker', '-p', 'policy.yaml']
const broker = spawn(process.execPath, [...command, '--port', '0', '--ws', '0'])
try {
  let output = ''
  broker.stdout.on('data', chunk => {
    output += chunk
  })
  broker.stderr.on('data', chunk => {
    output += chunk
  })
  const address = /ws:\/\/[\d.]+:\d+/
  await until('the address of the broker', () => address.test(output) || broker.exitCode !== null)
  expectEqual(`the broker ended: ${output}`, broker.exitCode, null)
  const client = await connectAsync(address.exec(output)[0])
  const received = []
  client.on('message', (_topic, payload) => received.push(String(payload)))
  await client.subscribeAsync('a', { qos: 1 })
  for (const text of ['1', '2', '3', '4']) await client.publishAsync('a', text, { qos: 1 })
  await until('two messages', () => received.length === 2)
  expectEqual('messages', received.join(), '1,2')
  await client.endAsync(true)
} finally {
  broker.kill()
}
