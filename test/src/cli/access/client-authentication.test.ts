import { expect, it } from 'vitest'
import { ClientAuthentication } from '../../../../src/cli/access/client-authentication.ts'
import { startMqttServer } from '../../../../src/cli/broker/mqtt-server.ts'
import { Gate } from '../../../../src/gate/gate.ts'
import { hashPassword } from '../../../../src/mqtt-auth/password-hash.ts'
import { connectClient } from '../../../support/mqtt-client.ts'
import { Folder } from '../folder.ts'

const LOGGER = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

it('refused logins are counted by reason', async () => {
  using folder = new Folder()
  const passwordFile = folder.file('passwords', `ann:${await hashPassword('right', 5)}\n`)
  const options = { passwordFile, usernameFromCertificate: false, allowAnonymous: false }
  const authentication = await ClientAuthentication.open(options, LOGGER)
  const server = await startMqttServer({ gate: new Gate(), host: '127.0.0.1', port: 0, authentication })
  const port = server.port!
  await expect(connectClient({ port })).rejects.toThrow('Not authorized')
  for (const password of ['wrong', 'also wrong'])
    await expect(connectClient({ port, username: 'ann', password })).rejects.toThrow('Bad username')
  await using ann = await connectClient({ port, username: 'ann', password: 'right' })
  expect(ann.client.connected).toBe(true)
  const family = server.collectMetrics().find(({ name }) => name === 'topicgate_logins_refused_total')
  expect(family?.samples.map(({ labels, value }) => [labels.reason, value])).toEqual([
    ['no_user', 1],
    ['wrong_password', 2],
    ['busy', 0],
    ['error', 0],
  ])
  await server.close(0)
})
