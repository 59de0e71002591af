import type { Role } from '../../admin/access/roles.ts'
import { readTokens, writeTokens } from '../../admin/access/token-file.ts'
import { createToken } from '../../admin/access/tokens.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { formatTable } from '../terminal/format.ts'
import { type Terminal, write } from '../terminal/terminal.ts'

interface TokenFileOptions {
  readonly file: string
  readonly json: boolean
}

/** Creates a token, adds it to the file and prints it. Rejects with CommandError if the name is taken. */
export async function createTokenCommand(
  options: TokenFileOptions & {
    readonly name: string
    readonly role: Role
    readonly forMs?: number | undefined
  },
  { stdout, stderr }: Terminal,
): Promise<number> {
  const { name, role, forMs, file, json } = options
  const entries = await readTokens(file)
  if (entries.some(each => each.name === name)) {
    const remedy = `choose another name, or remove it: topicgate token rm ${name}`
    throw new CommandError(`there is a token "${name}" already (${remedy})`, EXIT.failed)
  }
  const expiresAtMs = forMs === undefined ? undefined : Date.now() + forMs
  const { token, entry } = createToken(name, role, expiresAtMs)
  await writeTokens(file, [...entries, entry])
  if (json) await write(stdout, `${JSON.stringify({ name, role, token, file, expiresAtMs })}\n`)
  else await write(stdout, `${token}\n`)
  if (stderr.isTTY)
    await write(stderr, `It has the role ${role}; ${file} holds its hash. It is not printed again.\n`)
  return EXIT.fine
}

/** Prints the names, roles and ends of the tokens. */
export async function listTokensCommand(
  { file, json }: TokenFileOptions,
  { stdout }: Terminal,
): Promise<number> {
  const entries = await readTokens(file)
  if (json) {
    const tokens = entries.map(({ name, role, expiresAtMs }) => ({ name, role, expiresAtMs }))
    await write(stdout, `${JSON.stringify({ file, tokens })}\n`)
    return EXIT.fine
  }
  const rows = entries.map(({ name, role, expiresAtMs }) => [
    name,
    role,
    expiresAtMs === undefined ? 'never' : new Date(expiresAtMs).toISOString(),
  ])
  await write(stdout, `${formatTable(['name', 'role', 'expires'], rows).join('\n')}\n`)
  return EXIT.fine
}

/** Removes a token from the file. Rejects with CommandError if there is none of this name. */
export async function removeTokenCommand(
  { name, file, json }: TokenFileOptions & { readonly name: string },
  { stdout }: Terminal,
): Promise<number> {
  const entries = await readTokens(file)
  const kept = entries.filter(each => each.name !== name)
  if (kept.length === entries.length) {
    throw new CommandError(
      `there is no token "${name}" in ${file} (topicgate token ls lists them)`,
      EXIT.failed,
    )
  }
  await writeTokens(file, kept)
  await write(stdout, json ? `${JSON.stringify({ removed: name })}\n` : `removed ${name}\n`)
  return EXIT.fine
}
