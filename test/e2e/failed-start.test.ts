import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startCommand } from './cli.ts'

/** Commands that serve clients, with what they need to start. */
const COMMANDS = {
  broker: [],
  gateway: ['--upstream', 'mqtt://127.0.0.1:1'],
} as const

beforeAll(ensureBuilt, 120_000)

describe.each(Object.entries(COMMANDS))('topicgate %s', (command, needed) => {
  const taken = createServer()
  let address: string

  beforeAll(async () => {
    await once(taken.listen(0, '127.0.0.1'), 'listening')
    address = `127.0.0.1:${(taken.address() as AddressInfo).port}`
  })

  afterAll(() => void taken.close())

  it('ends if one of its servers cannot start, whatever has started before', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', 'rules: [{ name: client, per: client, limit: 5/s }]\n')
    const tokens = folder.file('tokens', '')
    const port = address.split(':')[1]!
    const failures: readonly (readonly [readonly string[], string])[] = [
      [
        ['--admin', '127.0.0.1:0', '--admin-tokens', `${folder.path}/absent`],
        'the token file cannot be read',
      ],
      [['--admin', address, '--admin-tokens', tokens], port],
      [['--health', port], port],
      [['--ws', port], port],
      [['--port', port], port],
    ]
    const ends = failures.map(async ([args, expected]) => {
      await using program = startCommand(command, policy, '--port', '0', ...needed, ...args)
      const { code } = await program.ended
      expect({ args, code, isSaid: program.stderr.includes(expected) }).toEqual({ args, code, isSaid: true })
      expect(code).toBeGreaterThan(0)
    })
    await Promise.all(ends)
  })
})
