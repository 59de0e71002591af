import { chmod, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { startGateway } from './harness.ts'
import { connectPacket, publishPacket } from './raw-peer.ts'

let noPasswords: string[] = []
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'topicgate-'))
  const file = join(folder, 'passwords')
  await writeFile(file, '')
  // Mosquitto gives up the rights of root.
  await chmod(folder, 0o755)
  noPasswords = [`password_file ${file}`]
})

describe('a client that claims the client id of another', () => {
  it('charges nothing to it with publishes behind its CONNECT', async () => {
    const gate = new Gate()
    gate.use('a/#', limit({ name: 'r', rate: '1/hour burst 5', per: 'client', exceeded: 'drop' }))
    await using scene = await startGateway({ gate, config: noPasswords })
    const receiver = await scene.connectDirectly()
    await receiver.subscribe('#')
    const attacker = await scene.connectRaw()
    const claim = connectPacket({ clientId: 'victim', username: 'x', password: Buffer.from('wrong') })
    attacker.send(claim, ...Array.from({ length: 10 }, () => publishPacket('a/b')))
    const connack = await attacker.received('connack')
    expect(connack).toMatchObject({ returnCode: 5 })
    await attacker.closed()
    const victim = await scene.connect({ clientId: 'victim' })
    for (let index = 0; index < 6; index++) await victim.publish('a/b', String(index), { qos: 1 })
    await until(() => receiver.messages.length >= 5)
    expect(receiver.messages.map(({ text }) => text)).toEqual(['0', '1', '2', '3', '4'])
  })

  it('charges failed connects to its address alone', async () => {
    const gate = new Gate()
    gate.use(limit({ name: 'by client', rate: '1/hour burst 2', per: 'client', on: 'connect' }))
    gate.use(limit({ name: 'by ip', rate: '1/hour burst 4', per: 'ip', on: 'connect' }))
    await using scene = await startGateway({ gate, config: noPasswords })
    const codes: unknown[] = []
    for (let index = 0; index < 3; index++) {
      const attacker = await scene.connectRaw()
      const connack = await attacker.open({
        clientId: 'victim',
        username: 'x',
        password: Buffer.from('wrong'),
      })
      codes.push(connack.returnCode)
      await attacker.closed()
    }
    const victim = await scene.connectRaw()
    codes.push((await victim.open({ clientId: 'victim' })).returnCode)
    const fifth = await scene.connectRaw()
    codes.push((await fifth.open({ clientId: 'other' })).returnCode)
    expect(codes).toEqual([5, 5, 5, 0, 3])
    expect(scene.upstreams).toHaveLength(4)
  })
})

describe('a client without a client id', () => {
  it('has the id that the broker assigns with MQTT 5', async () => {
    await using scene = await startGateway()
    const client = await scene.connect({ clientId: '', protocolVersion: 5 })
    const assigned = client.connack.properties?.assignedClientIdentifier ?? ''
    expect(scene.gateway.senderOf(assigned)).toMatchObject({ client: assigned, ip: '127.0.0.1' })
  })

  it('has its address as its id before MQTT 5', async () => {
    await using scene = await startGateway()
    const client = await scene.connectRaw()
    await client.open({ clientId: '' })
    const name = `127.0.0.1:${client.socket.localPort}`
    expect(scene.gateway.senderOf(name)).toMatchObject({ client: name })
  })
})

it('a client over its rate of connects gets 0x9F with MQTT 5, and no connection to the broker', async () => {
  const gate = new Gate()
  gate.use(limit({ name: 'r', rate: '1/hour burst 1', per: 'client', on: 'connect' }))
  await using scene = await startGateway({ gate })
  const first = await scene.connectRaw()
  await first.open({ clientId: 'c', protocolVersion: 5 })
  const second = await scene.connectRaw()
  const connack = await second.open({ clientId: 'c', protocolVersion: 5 })
  expect(connack).toMatchObject({ reasonCode: 0x9f })
  expect(connack.properties?.userProperties).toMatchObject({ 'ratelimit-policy': '"r";q=1;w=3600' })
  await second.closed()
  expect(scene.upstreams).toHaveLength(1)
})

it('a banned client is disconnected, and its next connect gets 0x8A or 5', async () => {
  await using scene = await startGateway()
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c', protocolVersion: 5 })
  await scene.gate.bans.add({ client: 'c', reason: 'test', for: '60s' })
  expect(await client.received('disconnect')).toMatchObject({ reasonCode: 0x98 })
  await client.closed()
  const again = await scene.connectRaw()
  expect(await again.open({ clientId: 'c', protocolVersion: 5 })).toMatchObject({ reasonCode: 0x8a })
  const older = await scene.connectRaw()
  expect(await older.open({ clientId: 'c' })).toMatchObject({ returnCode: 5 })
})
