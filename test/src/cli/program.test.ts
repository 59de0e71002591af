import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { packageFile } from '../../../src/core/package-files.ts'
import { runCommand } from './fake-terminal.ts'
import { Folder } from './folder.ts'

describe('the command line', () => {
  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string }
    expect(await runCommand(['--version'])).toEqual({ exitCode: 0, out: `${version}\n`, err: '' })
  })

  it('helps those who ask', async () => {
    const { exitCode, out } = await runCommand(['--help'])
    expect(exitCode).toBe(0)
    for (const command of ['validate', 'explain', 'replay', 'test', 'diff', 'broker', 'demo'])
      expect(out).toContain(`  ${command} `)
    expect((await runCommand(['broker', '--help'])).out).toContain('--proxy-protocol')
  })

  it.each([
    [[], 'Usage: topicgate'],
    [['validat'], 'Did you mean validate?'],
    [['explain', 'p.yaml'], "required option '--topic <topic>' not specified"],
    [['replay'], "missing required argument 'files'"],
    [['replay', 'capture.jsonl'], 'no policy was given'],
    [['broker'], 'no policy was given'],
    [['broker', 'p.yaml', '--port', '70000'], 'Write a port'],
    [['broker', 'p.yaml', '--log-level', 'loud'], 'Allowed choices are'],
    [['broker', 'p.yaml', '--proxy-protocol'], 'add --trust-proxy'],
    [['demo', '--for', 'ten'], 'is not a duration'],
    [['demo', '--outcome', 'explode'], 'Allowed choices are drop, throttle'],
  ])('%j is wrong usage', async (args, words) => {
    const { exitCode, out, err } = await runCommand(args)
    expect([exitCode, out]).toEqual([2, ''])
    expect(err).toContain(words)
  })

  it.each([
    ['validate $broken', 1],
    ['validate none.yaml', 1],
    ['validate --bogus', 2],
    ['explain $broken --topic a', 1],
    ['explain $policy', 2],
    ['test none.test.yaml', 1],
    ['test $folder', 1],
    ['test', 2],
    ['diff $policy $broken', 1],
    ['diff $policy none.yaml', 1],
    ['diff $policy $policy --capture none.jsonl', 1],
    ['diff $policy $policy --fail-on "newly-refused > 1"', 2],
    ['suggest none.jsonl', 1],
    ['simulate none.yaml', 1],
    ['simulate flood --policy $broken', 1],
    ['list --url http://127.0.0.1:1/', 2],
  ])('%s --json prints one document and exits with %i', async (line, expected) => {
    using folder = new Folder()
    const files: Readonly<Record<string, string>> = {
      policy: folder.file('policy.yaml', 'rules: [{ name: a, limit: 1/s }]'),
      broken: folder.file('broken.yaml', 'rules: [{ name: a, limt: 1/s }]'),
      folder: folder.path,
    }
    const args = line.match(/"[^"]+"|\S+/g)!.map(word => word.replaceAll('"', ''))
    const { exitCode, out } = await runCommand([
      ...args.map(word => (word.startsWith('$') ? files[word.slice(1)]! : word)),
      '--json',
    ])
    expect(exitCode).toBe(expected)
    const document = JSON.parse(out) as { readonly error?: { readonly exitCode: number } }
    expect(document.error?.exitCode ?? expected).toBe(expected)
  })

  it.each(['replay', 'demo --for 1s --policy', 'broker', 'gateway --upstream mqtt://127.0.0.1:1 --policy'])(
    '%s --json prints lines, and errors on the standard error only',
    async line => {
      using folder = new Folder()
      const broken = folder.file('broken.yaml', 'rules: [{ name: a, limt: 1/s }]')
      const args = line === 'replay' ? [broken, folder.path] : [broken]
      const { exitCode, out, err } = await runCommand([...line.split(' '), ...args, '--json'])
      expect([exitCode, out]).toEqual([1, ''])
      expect(err).toContain('unknown key `limt`')
    },
  )

  it('--json lists the problems of a policy with their places', async () => {
    using folder = new Folder()
    const broken = folder.file('broken.yaml', 'rules: [{ name: a, limt: 1/s }]')
    const { out, err } = await runCommand(['explain', broken, '--topic', 'a', '--json'])
    const { error } = JSON.parse(out)
    expect(error).toMatchObject({
      exitCode: 1,
      problems: [{ file: broken, line: 1, path: 'rules[0]', remedy: expect.stringContaining('limit') }],
    })
    expect(err).toContain('unknown key `limt`')
  })

  it('shows a stack only to those who ask for it', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', 'rules: [{ name: a, limit: 1/s }]')
    const args = ['replay', policy, folder.path]
    expect((await runCommand(args)).err).toBe(
      `error: ${folder.path}: this is a folder (name a capture, or - for the standard input)\n`,
    )
    expect((await runCommand(args, { env: { DEBUG: '1' } })).err).toMatch(/\n\s+at /)
  })

  it.each([
    [{ isTTY: false }, false],
    [{ isTTY: true }, true],
    [{ isTTY: true, env: { NO_COLOR: '1' } }, false],
    [{ isTTY: true, env: { TERM: 'dumb' } }, false],
    [{ isTTY: false, env: { FORCE_COLOR: '1' } }, true],
    [{ isTTY: true, env: { FORCE_COLOR: '0' } }, false],
  ])('%j has colours: %s', async (setup, colours) => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', 'rules: [{ name: a, limit: 1/s }]')
    const { out } = await runCommand(['validate', policy], setup)
    expect(out.includes('\u001b[32mok\u001b[39m')).toBe(colours)
  })
})
