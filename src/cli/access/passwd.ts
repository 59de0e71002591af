import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { findUserProblem, updatePasswordFile } from '../../mqtt-auth/password-file.ts'
import { hashPassword } from '../../mqtt-auth/password-hash.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { type Terminal, write } from '../terminal/terminal.ts'

export interface PasswdOptions {
  readonly file: string
  readonly user: string
  readonly iterations: number
}

/** Sets the password of a user in a password file. Asks for it on a terminal, and reads it from stdin otherwise. */
export async function setPasswordCommand(
  { file, user, iterations }: PasswdOptions,
  terminal: Terminal,
): Promise<number> {
  const problem = findUserProblem(user)
  if (problem !== undefined) throw new CommandError(`${problem} (choose another name)`, EXIT.usage)
  const password = await readPassword(terminal)
  const replaced = await updatePasswordFile(file, user, await hashPassword(password, iterations))
  await write(terminal.stdout, `${replaced ? 'changed' : 'added'} ${user}\n`)
  return EXIT.fine
}

/** Removes a user from a password file. Rejects with CommandError if there is no such user. */
export async function removePasswordCommand(
  { file, user }: Pick<PasswdOptions, 'file' | 'user'>,
  { stdout }: Terminal,
): Promise<number> {
  if (!(await updatePasswordFile(file, user, undefined)))
    throw new CommandError(`there is no user ${JSON.stringify(user)} in ${file}`, EXIT.failed)
  await write(stdout, `removed ${user}\n`)
  return EXIT.fine
}

async function readPassword({ stdin, stderr }: Terminal): Promise<string> {
  const password = stdin.isTTY ? await askTwice(stdin, stderr) : (await text(stdin)).replace(/\r?\n$/, '')
  if (password === '' || /[\r\n\0]/.test(password))
    throw new CommandError('a password is one line of text (write it to stdin)', EXIT.usage)
  if (Buffer.byteLength(password) > MAX_SIZES.passwordBytes)
    throw new CommandError(`a password has at most ${MAX_SIZES.passwordBytes} bytes`, EXIT.usage)
  return password
}

async function askTwice(stdin: Terminal['stdin'], stderr: Terminal['stderr']): Promise<string> {
  // In terminal mode readline turns the echo of the terminal off and prints each key here.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: stdin, output: silent, terminal: true })
  const interrupted = new Promise<never>((_resolve, reject) => {
    lines.once('close', () => reject(new CommandError('no password was given', EXIT.failed)))
  })
  const ask = async (prompt: string): Promise<string> => {
    await write(stderr, prompt)
    const answer = await Promise.race([lines.question(''), interrupted])
    await write(stderr, '\n')
    return answer
  }
  try {
    const password = await ask('Password: ')
    if ((await ask('Again: ')) === password) return password
    throw new CommandError('the two passwords differ, nothing was changed', EXIT.failed)
  } finally {
    interrupted.catch(() => {})
    lines.close()
  }
}
