import { connect as connectV3, jwtAuthenticator as jwtAuthenticatorV3, nkeys } from '@nats-io/transport-node'
import { connect as connectV2, jwtAuthenticator as jwtAuthenticatorV2 } from 'nats'
import { expect, it } from 'vitest'
import type { NatsGatewayClient } from '../../../brokers/nats-gateway/index.ts'
import { limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { natsGate } from '../nats/scene.ts'
import { startGateway, type TestGateway } from './harness.ts'
import { JwtIssuer, type JwtUser } from './jwt-identities.ts'
import { RawClient } from './raw-client.ts'

const issuer = new JwtIssuer()

/** Starts a server in operator mode behind a gateway that lets each user publish three messages an hour to `a.>`. */
function startScene(clients: NatsGatewayClient[] = []): Promise<TestGateway> {
  const rule = limit({ name: 'r', rate: '1/hour burst 3', per: 'user', exceeded: 'drop' })
  return startGateway({
    gate: natsGate().use('a.>', rule),
    gateway: { identify: client => void clients.push(client) },
    server: { config: issuer.serverConfig },
  })
}

/** Returns a CONNECT with the nonce of the server signed by `seed`. */
function signedConnect(client: RawClient, jwt: string, seed: Uint8Array): object {
  const signature = nkeys.fromSeed(seed).sign(Buffer.from(String(client.info.nonce)))
  return { jwt, sig: Buffer.from(signature).toString('base64url') }
}

async function subscribe(scene: TestGateway, user: JwtUser): Promise<RawClient> {
  const subscriber = await RawClient.open(scene.server.port)
  await subscriber.connect(signedConnect(subscriber, user.jwt, user.seed))
  subscriber.send('SUB > 1\r\n')
  await subscriber.flush()
  return subscriber
}

it.each([
  ['nats 2', connectV2, jwtAuthenticatorV2],
  ['@nats-io 3', connectV3, jwtAuthenticatorV3],
] as const)('the limits of a JWT follow it over the connections of %s', async (_, connect, authenticate) => {
  const clients: NatsGatewayClient[] = []
  await using scene = await startScene(clients)
  const [ann, bob] = [issuer.issueUser('ann'), issuer.issueUser('bob')]
  await using subscriber = await subscribe(scene, issuer.issueUser('subscriber'))
  for (const [subject, { jwt, seed }] of [
    ['a.ann', ann],
    ['a.ann', ann],
    ['a.bob', bob],
  ] as const) {
    const client = await connect({ servers: scene.url, authenticator: authenticate(jwt, seed) })
    for (let n = 0; n < 2; n++) client.publish(subject, 'x')
    await client.flush()
    await client.close()
  }
  await subscriber.flush()
  expect(subscriber.count('MSG a.ann 1 1')).toBe(3)
  expect(subscriber.count('MSG a.bob 1 1')).toBe(2)
  expect(scene.gateway.stats().dropped).toBe(1)
  expect(clients.map(({ user, jwt }) => [user, jwt?.name])).toEqual([
    [ann.publicKey, 'ann'],
    [ann.publicKey, 'ann'],
    [bob.publicKey, 'bob'],
  ])
})

it('a JWT that another key has signed for is refused by the server and costs its user nothing', async () => {
  await using scene = await startScene()
  const ann = issuer.issueUser('ann')
  await using subscriber = await subscribe(scene, issuer.issueUser('subscriber'))
  await using forger = await RawClient.open(scene.port)
  const connect = signedConnect(forger, ann.jwt, nkeys.createUser().getSeed())
  forger.send(`CONNECT ${JSON.stringify(connect)}\r\n${'PUB a.b 1\r\nx\r\n'.repeat(9)}`)
  await forger.receives("-ERR 'Authorization Violation'")
  await forger.closes()
  await using outsider = await RawClient.open(scene.port)
  const unknown = new JwtIssuer().issueUser('ann')
  outsider.send(`CONNECT ${JSON.stringify(signedConnect(outsider, unknown.jwt, unknown.seed))}\r\n`)
  await outsider.receives("-ERR 'Authorization Violation'")
  await until(() => scene.gateway.stats().connections === 0)
  expect(scene.gateway.stats().connectsFailed).toBe(2)
  await using client = await RawClient.open(scene.port)
  await client.connect(signedConnect(client, ann.jwt, ann.seed))
  client.send('PUB a.b 1\r\ny\r\n'.repeat(4))
  await client.flush()
  await subscriber.flush()
  expect(subscriber.count('x')).toBe(0)
  expect(subscriber.count('y')).toBe(3)
})

it('the server enforces the permissions of a JWT', async () => {
  await using scene = await startScene()
  const user = issuer.issueUser('ann', { pub: { allow: ['a.>'] } })
  await using subscriber = await subscribe(scene, issuer.issueUser('subscriber'))
  await using client = await RawClient.open(scene.port)
  await client.connect(signedConnect(client, user.jwt, user.seed))
  client.send('PUB b 1\r\nx\r\nPUB a.b 1\r\ny\r\n')
  await client.receives('-ERR \'Permissions Violation for Publish to "b"\'')
  await client.flush()
  await subscriber.flush()
  expect(subscriber.lines.slice(-2)).toEqual(['y', 'PONG'])
  expect(subscriber.count('x')).toBe(0)
})

it('a bearer JWT names no user, but its claims are there to identify its client', async () => {
  const clients: NatsGatewayClient[] = []
  await using scene = await startScene(clients)
  const { jwt, publicKey } = issuer.issueUser('device', { bearer_token: true, tags: ['gold'] })
  await using client = await RawClient.open(scene.port)
  await client.connect({ jwt })
  expect(clients).toHaveLength(1)
  expect(clients[0]?.user).toBeUndefined()
  expect(clients[0]?.jwt).toMatchObject({ sub: publicKey, name: 'device', nats: { tags: ['gold'] } })
})
