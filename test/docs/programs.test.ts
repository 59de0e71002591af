import { beforeAll, describe, expect, it } from 'vitest'
import { ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import { startNode } from '../support/program.ts'
import { BLOCKS, placeOf } from './pages.ts'

/*
 * A block of `js` is a whole program. It runs to its end, and prints what the comments `// → …` say, line by line. One
 * of `js serve` starts a broker: it prints its address, a client can connect to it, and it ends at SIGTERM.
 */

const programs = BLOCKS.filter(({ language }) => language === 'js').map(block => ({
  ...block,
  place: placeOf(block),
}))
const serves = ({ words }: { readonly words: readonly string[] }): boolean => words.includes('serve')

beforeAll(ensureBuilt, 120_000)

describe('programs on the pages', () => {
  it('are there', () => {
    expect(programs.length).toBeGreaterThan(10)
  })

  it.each(programs.filter(block => !serves(block)))('$place prints what it says', async ({ text, words }) => {
    await using nats = words.includes('nats') ? await startNats({ jetstream: true }) : undefined
    const env = nats === undefined ? {} : { NATS_URL: nats.url }
    await using program = startNode(['--input-type=module'], { input: text, env })
    const { code, stdout, stderr } = await program.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const promised = [...text.matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => line)
    expect(promised.length, 'a program that promises nothing shows nothing').toBeGreaterThan(0)
    expect(stdout.trimEnd().split('\n')).toEqual(promised)
  })

  it.each(programs.filter(serves))('$place serves, and ends at SIGTERM', async ({ text }) => {
    await using program = startNode(['--input-type=module'], { input: text, env: { PORT: '0' } })
    const [, port] = await program.line(/mqtt:\/\/127\.0\.0\.1:(\d+)/)
    await using client = await connectClient({ port: Number(port), clientId: 'd1' })
    await client.subscribe('fleet/d1/#')
    await client.publish('fleet/d1/t', 'x', { qos: 1 })
    expect((await client.received(1))[0]).toMatchObject({ topic: 'fleet/d1/t', text: 'x' })
    await client.close()
    program.signal('SIGTERM')
    const { code, signal, stderr } = await program.ended
    expect(stderr).toBe('')
    expect(code === 0 || signal === 'SIGTERM').toBe(true)
  })
})
