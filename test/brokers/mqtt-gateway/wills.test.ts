import { describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { startGateway, type TestGateway } from './harness.ts'
import { publishPacket } from './raw-peer.ts'

const WILL = { topic: 'will/c', payload: Buffer.from('gone'), qos: 1, retain: false } as const

/** Lets a client with a will lose its connection; returns the topics of the messages that arrive. */
async function topicsAfterLoss(scene: TestGateway, protocolVersion: 4 | 5): Promise<readonly string[]> {
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('#', 1)
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c', protocolVersion, will: WILL, username: 'u', password: Buffer.from('p') })
  client.socket.destroy()
  const last = await scene.connect()
  while (scene.gateway.stats().connections > 1) await last.publish('wait', 'x', { qos: 1 })
  await last.publish('end', 'x', { qos: 1 })
  await receiver.received(1)
  while (receiver.messages.at(-1)?.topic !== 'end') await receiver.received(receiver.messages.length + 1)
  return receiver.messages.map(({ topic }) => topic).filter(topic => topic !== 'wait')
}

function refuseWills(): Gate {
  const gate = new Gate()
  gate.use('will/#', limit({ name: 'r', maxSize: '1B', exceeded: 'drop', when: { will: true } }))
  return gate
}

describe.each([4, 5] as const)('the will of a client of version %i', protocolVersion => {
  it('is published when its connection is lost', async () => {
    await using scene = await startGateway()
    expect(await topicsAfterLoss(scene, protocolVersion)).toEqual(['will/c', 'end'])
  })

  it('is removed from its CONNECT if a rule refuses it', async () => {
    await using scene = await startGateway({ gate: refuseWills() })
    expect(await topicsAfterLoss(scene, protocolVersion)).toEqual(['end'])
    expect(scene.gateway.stats()).toMatchObject({ willsRefused: 1 })
    expect(scene.upstreams[0]!.bytes.includes('gone')).toBe(false)
    expect(scene.upstreams[0]!.bytes.includes('\0\x01u\0\x01p')).toBe(true)
  })

  it('is removed with `wills: strip`', async () => {
    await using scene = await startGateway({ gateway: { wills: 'strip' } })
    expect(await topicsAfterLoss(scene, protocolVersion)).toEqual(['end'])
  })

  it('passes with `wills: pass`, whatever the rules say', async () => {
    await using scene = await startGateway({ gate: refuseWills(), gateway: { wills: 'pass' } })
    expect(await topicsAfterLoss(scene, protocolVersion)).toEqual(['will/c', 'end'])
  })
})

it('a will is charged once its client is accepted, and never before', async () => {
  const gate = new Gate()
  gate.use('will/#', limit({ name: 'r', rate: '1/hour burst 2', per: 'client', exceeded: 'drop' }))
  await using scene = await startGateway({ gate })
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c', will: WILL })
  client.send(publishPacket('will/c'), publishPacket('will/c'))
  await client.roundTrip()
  expect(scene.gateway.stats().dropped).toBe(1)
})

it('a policy that disconnects a client publishes its will, and a ban does not', async () => {
  const gate = new Gate()
  gate.use('a', limit({ name: 'r', rate: '1/hour burst 1', per: 'client', exceeded: 'disconnect' }))
  await using scene = await startGateway({ gate })
  const receiver = await scene.connectDirectly()
  await receiver.subscribe('will/#', 1)
  const banned = await scene.connectRaw()
  await banned.open({ clientId: 'b', will: { ...WILL, topic: 'will/b' } })
  await gate.bans.add({ client: 'b', reason: 'test', for: '60s' })
  await banned.closed()
  const client = await scene.connectRaw()
  await client.open({ clientId: 'c', protocolVersion: 5, will: WILL })
  client.send(publishPacket('a'), publishPacket('a'))
  expect(await client.received('disconnect')).toMatchObject({ reasonCode: 0x96 })
  await client.closed()
  await receiver.received(1)
  expect(receiver.messages.map(({ topic }) => topic)).toEqual(['will/c'])
})
