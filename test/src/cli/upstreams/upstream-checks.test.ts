import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import { afterEach, expect, it } from 'vitest'
import { parseUpstream } from '../../../../src/cli/upstreams/upstream.ts'
import { UpstreamPool } from '../../../../src/cli/upstreams/upstream-pool.ts'
import { SILENT } from '../../../../src/core/logger.ts'

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

async function serve(handle: (socket: Socket) => void, scheme = 'mqtt'): Promise<string> {
  const server = createServer(handle)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  ends.push(() => void server.close())
  return `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`
}

it('finds brokers that are away, close at once, or speak another protocol', async () => {
  const broker = await Aedes.createBroker()
  ends.push(() => void broker.close())
  const urls = [
    await serve(socket => void broker.handle(socket)),
    await serve(socket => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    await serve(socket => void socket.destroy()),
    'mqtt://127.0.0.1:1',
  ]
  const pool = new UpstreamPool({
    addresses: urls.map(parseUpstream),
    tls: undefined,
    sendsProxyHeader: false,
    logger: SILENT,
  })
  ends.push(() => void pool.close())
  const checks = await pool.runChecks()
  expect(checks.map(({ result }) => result)).toEqual(['ok', 'failed', 'failed', 'failed'])
  expect(checks[1]?.detail).toContain('does not answer as an MQTT broker')
  expect(checks[3]?.detail).toContain('ECONNREFUSED')
})

it('finds NATS servers that are away, close before their INFO, or speak another protocol', async () => {
  const urls = [
    await serve(socket => void socket.write('INFO {"server_id":"x"} \r\n'), 'nats'),
    await serve(socket => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), 'nats'),
    await serve(socket => void socket.end('INFO {'), 'tls'),
    'nats://127.0.0.1:1',
  ]
  const pool = new UpstreamPool({
    addresses: urls.map(parseUpstream),
    tls: undefined,
    sendsProxyHeader: false,
    logger: SILENT,
  })
  ends.push(() => void pool.close())
  const checks = await pool.runChecks()
  expect(checks.map(({ result }) => result)).toEqual(['ok', 'failed', 'failed', 'failed'])
  expect(checks[0]?.detail).toContain('answers as a NATS server')
  expect(checks[1]?.detail).toContain('does not answer as a NATS server')
  expect(checks[2]?.detail).toContain('closes the connection before its INFO')
  expect(checks[3]?.detail).toContain('ECONNREFUSED')
})
