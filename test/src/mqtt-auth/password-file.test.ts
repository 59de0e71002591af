import { chmodSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  findUserProblem,
  parsePasswordFile,
  readPasswordFile,
  updatePasswordFile,
} from '../../../src/mqtt-auth/password-file.ts'
import { hashPassword, matchesHash, parsePasswordHash } from '../../../src/mqtt-auth/password-hash.ts'
import { Folder } from '../cli/folder.ts'

/** Written by mosquitto_passwd of mosquitto 2.0.11, for the password "secret". */
const PBKDF2 =
  '$7$101$LXlD/GyIPwtr77Mf$ad0J5pdXym1iaexvvrKje6oEXkQtlFUyP3NKCx+l+8eIzOmAnynsJ5Jw535tXPSSFa0pQdZkPVTLpsyrMp+kCQ=='

let folder: Folder
beforeEach(() => {
  folder = new Folder()
})
afterEach(() => folder[Symbol.dispose]())

describe('password hashes', () => {
  it('a hash of mosquitto_passwd matches its password and no other', async () => {
    const hash = parsePasswordHash(PBKDF2)!
    expect(hash.iterations).toBe(101)
    expect(await matchesHash(Buffer.from('secret'), hash)).toBe(true)
    expect(await matchesHash(Buffer.from('secret '), hash)).toBe(false)
  })

  it('a new hash has its own salt and the wanted rounds', async () => {
    const [first, second] = [await hashPassword('pä ss', 10), await hashPassword('pä ss', 10)]
    expect(first).not.toBe(second)
    for (const text of [first, second]) {
      expect(text).toMatch(/^\$7\$10\$/)
      expect(await matchesHash(Buffer.from('pä ss'), parsePasswordHash(text)!)).toBe(true)
    }
  })

  it.each([
    'secret',
    '',
    '$7$0$LXlD/GyIPwtr77Mf$ad0J',
    PBKDF2.replace('101', '99999999'),
    PBKDF2.replace('$7$', '$5$'),
    PBKDF2.slice(0, -4),
    `${PBKDF2}\n`,
  ])('%j is not a hash', text => {
    expect(parsePasswordHash(text)).toBeUndefined()
  })
})

describe('password files', () => {
  it('comments and empty lines are skipped, and lines may end in CR LF', () => {
    const entries = parsePasswordFile(`# fleet\r\n\r\nann:${PBKDF2}\r\nbob:${PBKDF2}`, 'passwords')
    expect([...entries.keys()]).toEqual(['ann', 'bob'])
  })

  it('each problem names file and line, but never the text in place of a hash', () => {
    const text = `ann:${PBKDF2}\nnobody\nbob:hunter2\nann:${PBKDF2}\n:${PBKDF2}\n`
    expect(() => parsePasswordFile(text, 'passwords')).toThrow(
      [
        'passwords:2: this is not a user and a hash (write user:$7$iterations$salt$hash, or use topicgate passwd)',
        'passwords:3: the password of "bob" is not a hash of mosquitto_passwd ($7$ or $6$) (topicgate passwd passwords bob)',
        'passwords:4: "ann" has a password already (remove one line)',
        'passwords:5: this is not a user and a hash (write user:$7$iterations$salt$hash, or use topicgate passwd)',
      ].join('\n'),
    )
  })

  it('a missing file and one that every user may write to are refused', async () => {
    await expect(readPasswordFile(join(folder.path, 'none'))).rejects.toThrow('cannot be read: ENOENT')
    const path = folder.file('open', `ann:${PBKDF2}\n`)
    chmodSync(path, 0o666)
    await expect(readPasswordFile(path)).rejects.toThrow(
      `every user may write to this file (chmod o-w ${path})`,
    )
  })

  it('an update replaces one line, keeps the others and leaves the file to its owner', async () => {
    const path = folder.file('passwords', `# fleet\nann:${PBKDF2}\nanna:${PBKDF2}\n`)
    expect(await updatePasswordFile(path, 'ann', 'new')).toBe(true)
    expect(await updatePasswordFile(path, 'bob', 'hash')).toBe(false)
    expect(readFileSync(path, 'utf8')).toBe(`# fleet\nann:new\nanna:${PBKDF2}\nbob:hash\n`)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await updatePasswordFile(path, 'ann', undefined)).toBe(true)
    expect(await updatePasswordFile(path, 'ann', undefined)).toBe(false)
    expect(readFileSync(path, 'utf8')).toBe(`# fleet\nanna:${PBKDF2}\nbob:hash\n`)
  })

  it('an update creates a missing file, but a removal does not', async () => {
    const path = join(folder.path, 'new')
    await expect(updatePasswordFile(path, 'ann', undefined)).rejects.toThrow('ENOENT')
    await updatePasswordFile(path, 'ann', PBKDF2)
    expect((await readPasswordFile(path)).has('ann')).toBe(true)
  })

  it.each(['', 'a:b', 'a\nb', '#a', 'x'.repeat(65_536)])('%j cannot be a user', user => {
    expect(findUserProblem(user)).toBeTypeOf('string')
  })

  it('a user may have spaces and letters of any language', () => {
    expect(findUserProblem('Ünit 7/a')).toBeUndefined()
    expect(parsePasswordFile(`Ünit 7/a:${PBKDF2}\n`, 'passwords').has('Ünit 7/a')).toBe(true)
  })
})
