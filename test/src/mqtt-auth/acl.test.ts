import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { parseAclFile } from '../../../src/mqtt-auth/acl-file.ts'
import { ClientRights } from '../../../src/mqtt-auth/client-rights.ts'

/** Returns the rights of a client on topics, as `rw`, `r-`, `-w` or `--`. */
function rightsOf(acl: string, user: string | undefined, client: string, topics: readonly string[]): string {
  const rights = new ClientRights(parseAclFile(acl, 'acl'), user, client)
  return topics
    .map(topic => `${rights.mayRead(topic) ? 'r' : '-'}${rights.mayWrite(topic) ? 'w' : '-'}`)
    .join(' ')
}

describe('ACL files', () => {
  it('lines before the first user are for clients without one, and a user may have several sections', () => {
    const acl =
      'topic read public/#\n\n# staff\nuser ann lee\ntopic a\nuser bob\ntopic write b\nuser ann lee\ntopic c/d e\n'
    expect(rightsOf(acl, undefined, 'c', ['public/x', 'a', 'b'])).toBe('r- -- --')
    expect(rightsOf(acl, 'ann lee', 'c', ['public/x', 'a', 'b', 'c/d e'])).toBe('-- rw -- rw')
    expect(rightsOf(acl, 'bob', 'c', ['a', 'b'])).toBe('-- -w')
    expect(rightsOf(acl, 'eve', 'c', ['public/x', 'a'])).toBe('-- --')
  })

  it('a topic may be named like an access', () => {
    expect(rightsOf('topic read\ntopic write deny\n', undefined, 'c', ['read', 'deny'])).toBe('rw -w')
  })

  it('a denial wins over the other lines of its kind, wherever it stands', () => {
    const acl =
      'user ann\ntopic a/#\ntopic deny a/secret\npattern read b/#\npattern deny b/%u/#\npattern a/secret\n'
    expect(rightsOf(acl, 'ann', 'c', ['a/x', 'a/secret', 'b/x', 'b/ann/x'])).toBe('rw -- r- --')
    expect(rightsOf(acl, 'bob', 'c', ['a/secret', 'b/ann/x'])).toBe('rw r-')
  })

  it('wildcards at the beginning do not cover topics that begin with $', () => {
    expect(rightsOf('topic #\ntopic read $SYS/a/+\n', undefined, 'c', ['x', '$SYS/b', '$SYS/a/b'])).toBe(
      'rw -- r-',
    )
  })

  it('each problem names file and line', () => {
    expect(() =>
      parseAclFile('topic a\ntopic\nuser\nallow b\ntopic read a/#/b\npattern x%u+\n', 'acl'),
    ).toThrow(
      [
        'acl:2: this is not a line of an ACL file (write user NAME, topic [read|write|readwrite|deny] FILTER or pattern … FILTER)',
        'acl:3: this is not a line of an ACL file (write user NAME, topic [read|write|readwrite|deny] FILTER or pattern … FILTER)',
        'acl:4: this is not a line of an ACL file (write user NAME, topic [read|write|readwrite|deny] FILTER or pattern … FILTER)',
        'acl:5: "a/#/b" is not a topic filter (# is the last level, + is a whole level)',
        'acl:6: "x%u+" is not a topic filter (# is the last level, + is a whole level)',
      ].join('\n'),
    )
  })
})

describe('patterns', () => {
  const ACL = 'pattern u/%u/#\npattern c/%c/%u\n'

  it('stand for the user and the client id of each client', () => {
    expect(rightsOf(ACL, 'ann', '&$& 7', ['u/ann/x', 'u/bob/x', 'c/&$& 7/ann', 'u/%u/x'])).toBe('rw -- rw --')
    expect(rightsOf(ACL, undefined, '7', ['u//x', 'u/%u/x', 'u/undefined/x', 'c/7/'])).toBe('-- -- -- --')
  })

  it('a name that holds the other placeholder is not filled in again', () => {
    expect(rightsOf(ACL, '%c', '7', ['u/%c/x', 'u/7/x'])).toBe('rw --')
  })

  it.each(['#', '+', 'bob/x', 'a+', '$SYS', '/'])('a client named %j gets no rights at all', name => {
    const topics = ['u/bob/x', 'u/bob/x/y', `u/${name}/x`, 'u/x/x', 'public']
    const acl = `${ACL}pattern public\ntopic public\nuser ${name}\ntopic public\n`
    expect(rightsOf(acl, name, '7', topics)).toBe('-- -- -- -- --')
    expect(rightsOf(acl, 'ann', name, topics)).toBe('-- -- -- -- --')
  })

  it('names that no pattern uses may hold anything', () => {
    expect(rightsOf('pattern u/%u\n', 'ann', 'a/+/#', ['u/ann'])).toBe('rw')
    expect(rightsOf('user a/b\ntopic x\n', 'a/b', '7', ['x'])).toBe('rw')
  })
})

it('remembers rights on a bounded number of topics, and answers the same beyond it', () => {
  const rights = new ClientRights(parseAclFile('topic read a/#\n', 'acl'), undefined, 'c')
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 3 * MAX_SIZES.topicsPerSender; n++) {
      expect([rights.mayRead(`a/${n}`), rights.mayWrite(`a/${n}`), rights.mayRead(`b/${n}`)]).toEqual([
        true,
        false,
        false,
      ])
    }
  }
  const long = `a/${'x'.repeat(MAX_SIZES.cachedTopicChars)}`
  expect([rights.mayRead(long), rights.mayWrite(long)]).toEqual([true, false])
})
