import { PolicyError, type Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { validPattern } from '../topic/pattern.ts'
import { readConfigFile } from './read-config-file.ts'

/** Access that a line of an ACL file grants or denies. */
export type Access = 'read' | 'write' | 'readwrite' | 'deny'

export interface AclEntry {
  readonly access: Access
  /** Topic filter; in pattern lines with `%u` for the user and `%c` for the client id. */
  readonly filter: string
}

/** Access control list of a file. */
export interface Acl {
  /** Lines for clients without a user. */
  readonly anonymous: readonly AclEntry[]
  readonly users: ReadonlyMap<string, readonly AclEntry[]>
  /** Pattern lines, for all clients. */
  readonly patterns: readonly AclEntry[]
}

const LINE = /^(topic|pattern)\s+(?:(read|write|readwrite|deny)\s+)?(\S.*)$/

/** Reads an ACL file. Throws PolicyError with the line of each problem. */
export async function readAclFile(path: string): Promise<Acl> {
  return parseAclFile(await readConfigFile(path, 'create it, with lines as: topic read public/#'), path)
}

/**
 * Parses an ACL file of mosquitto: `user NAME`, `topic [read|write|readwrite|deny] FILTER`, `pattern … FILTER` with `%u`
 * and `%c`, and comments. Throws PolicyError with the line of each problem.
 */
export function parseAclFile(text: string, path: string): Acl {
  const anonymous: AclEntry[] = []
  const users = new Map<string, AclEntry[]>()
  const patterns: AclEntry[] = []
  const problems: Problem[] = []
  let section = anonymous
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const refuse = (message: string, remedy: string): void => {
      if (problems.length < MAX_SIZES.policyProblems)
        problems.push({ file: path, line: index + 1, message, remedy })
    }
    const user = /^user\s+(\S.*)$/.exec(line)?.[1]
    if (user !== undefined) {
      section = users.get(user) ?? []
      users.set(user, section)
      continue
    }
    const [, word, access = 'readwrite', filter] = LINE.exec(line) ?? []
    if (filter === undefined) {
      refuse(
        'this is not a line of an ACL file',
        'write user NAME, topic [read|write|readwrite|deny] FILTER or pattern … FILTER',
      )
    } else if (!validPattern(filter.replaceAll(/%[uc]/g, 'x'))) {
      refuse(`${JSON.stringify(filter)} is not a topic filter`, '# is the last level, + is a whole level')
    } else {
      const entry = { access: access as Access, filter }
      if (word === 'pattern') patterns.push(entry)
      else section.push(entry)
    }
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return { anonymous, users, patterns }
}
