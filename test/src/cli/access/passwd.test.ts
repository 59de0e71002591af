import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../../../../src/cli/program.ts'
import { readPasswordFile } from '../../../../src/mqtt-auth/password-file.ts'
import { matchesHash } from '../../../../src/mqtt-auth/password-hash.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

let folder: Folder
let file: string
beforeEach(() => {
  folder = new Folder()
  file = join(folder.path, 'passwords')
})
afterEach(() => folder[Symbol.dispose]())

const FEW = ['--iterations', '5']

async function hasPassword(user: string, password: string): Promise<boolean> {
  return matchesHash(Buffer.from(password), (await readPasswordFile(file)).get(user)!)
}

/** Runs the command on a terminal on which keys are typed; returns what it showed. */
async function runTyping(keys: readonly string[]): Promise<{ exitCode: number; shown: string }> {
  const stdin = Object.assign(new PassThrough(), { isTTY: true })
  let shown = ''
  const left = [...keys]
  const screen = new Writable({
    write(chunk, _encoding, done) {
      shown += String(chunk)
      if (shown.endsWith(': ')) setImmediate(() => stdin.write(left.shift() ?? ''))
      done()
    },
  })
  const exitCode = await run(['passwd', file, 'ann', ...FEW], {
    stdin,
    stdout: screen,
    stderr: screen,
    env: {},
  })
  return { exitCode, shown }
}

describe('topicgate passwd', () => {
  it('reads a password from stdin, and creates a file that only its owner may read', async () => {
    const { exitCode, out } = await runCommand(['passwd', file, 'ann', ...FEW], { stdin: 'one two\n' })
    expect({ exitCode, out }).toEqual({ exitCode: 0, out: 'added ann\n' })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).toMatch(/^ann:\$7\$5\$/)
    expect(await hasPassword('ann', 'one two')).toBe(true)
    const again = await runCommand(['passwd', file, 'ann', ...FEW], { stdin: 'three' })
    expect(again.out).toBe('changed ann\n')
    expect(await hasPassword('ann', 'three')).toBe(true)
  })

  it('asks twice on a terminal, and shows nothing of the password', async () => {
    const { exitCode, shown } = await runTyping(['secret\r', 'secret\r'])
    expect(exitCode).toBe(0)
    expect(shown).toBe('Password: \nAgain: \nadded ann\n')
    expect(await hasPassword('ann', 'secret')).toBe(true)
  })

  it('changes nothing if the two differ, or the input ends', async () => {
    expect(await runTyping(['secret\r', 'secre\r'])).toMatchObject({
      exitCode: 1,
      shown: expect.stringContaining('the two passwords differ, nothing was changed'),
    })
    // Ctrl-C
    expect(await runTyping(['\x03'])).toMatchObject({ exitCode: 1 })
    await expect(readPasswordFile(file)).rejects.toThrow('ENOENT')
  })

  it.each([
    ['', 'a password is one line of text'],
    ['a\nb\n', 'a password is one line of text'],
    ['x'.repeat(1_025), 'a password has at most 1024 bytes'],
  ])('refuses the password %j', async (stdin, message) => {
    const { exitCode, err } = await runCommand(['passwd', file, 'ann', ...FEW], { stdin })
    expect(exitCode).toBe(2)
    expect(err).toContain(message)
  })

  it('refuses a name that the file cannot hold, and rounds that are no number', async () => {
    expect(await runCommand(['passwd', file, 'a:b'], { stdin: 'x' })).toMatchObject({ exitCode: 2 })
    expect(await runCommand(['passwd', file, 'ann', '--iterations', '0'], { stdin: 'x' })).toMatchObject({
      exitCode: 2,
    })
  })

  it('removes a user, and reports one that is not there', async () => {
    await runCommand(['passwd', file, 'ann', ...FEW], { stdin: 'one' })
    expect(await runCommand(['passwd', file, 'ann', '--delete'])).toMatchObject({
      exitCode: 0,
      out: 'removed ann\n',
    })
    expect(await runCommand(['passwd', file, 'ann', '--delete'])).toMatchObject({
      exitCode: 1,
      err: `error: there is no user "ann" in ${file}\n`,
    })
  })
})
