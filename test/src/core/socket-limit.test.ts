import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { addressKey } from '../../../src/conditions/address-network.ts'
import { limitSockets } from '../../../src/core/socket-limit.ts'
import { until } from '../../support/wait.ts'

const MAX_PER_ADDRESS = 3

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** Starts a server at which the loopback address 127.0.0.N counts as an address of the list. */
async function startServer(addresses: readonly string[]): Promise<(index: number) => Promise<Socket>> {
  const server = createServer()
  limitSockets(server, {
    max: 100,
    maxPerAddress: MAX_PER_ADDRESS,
    keyOf: ip => addressKey(addresses[Number(ip.split('.').at(-1)) - 1]!),
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  ends.push(() => void server.close())
  const { port } = server.address() as AddressInfo
  return async index => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: `127.0.0.${index + 1}` })
    socket.on('error', () => {})
    ends.push(() => void socket.destroy())
    await until(async () => (await count(server)) > 0 && !socket.connecting)
    return socket
  }
}

function count(server: ReturnType<typeof createServer>): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, connections) => (error ? reject(error) : resolve(connections))),
  )
}

describe('the limit of sockets', () => {
  it('counts the addresses of an IPv6 network of 64 bits together', async () => {
    const open = await startServer([
      '2001:db8:0:1::1',
      '2001:db8:0:1:2::2',
      '2001:db8:0:1::3',
      '2001:db8:0:2::1',
    ])
    const sockets: Socket[] = []
    for (const index of [0, 1, 2, 3, 0]) sockets.push(await open(index))
    // The oldest of the network gives way to its fourth.
    await until(() => sockets[0]!.closed)
    expect(sockets.map(({ closed }) => closed)).toEqual([true, false, false, false, false])
  })
})
