import { expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { PasswordChecker, type PasswordResult } from '../../../src/mqtt-auth/password-checker.ts'
import { parsePasswordFile } from '../../../src/mqtt-auth/password-file.ts'
import { hashPassword } from '../../../src/mqtt-auth/password-hash.ts'

const lines = async (users: Readonly<Record<string, string>>): Promise<string> =>
  (
    await Promise.all(
      Object.entries(users).map(async ([user, password]) => `${user}:${await hashPassword(password, 2)}\n`),
    )
  ).join('')

async function checkerOf(users: Readonly<Record<string, string>>): Promise<PasswordChecker> {
  return new PasswordChecker(parsePasswordFile(await lines(users), 'passwords'))
}

function check(checker: PasswordChecker, user: string, password: string): Promise<PasswordResult> {
  return checker.check({ user, password: Buffer.from(password), address: 'a', isCancelled: () => false })
}

/** Returns the number of hashes that a step costs. */
async function hashesOf(checker: PasswordChecker, step: () => Promise<unknown>): Promise<number> {
  const before = checker.hashed
  await step()
  return checker.hashed - before
}

it('accepts the right password only, and no unknown user', async () => {
  const checker = await checkerOf({ ann: 'one', bob: 'two' })
  expect(await check(checker, 'ann', 'one')).toBe('correct')
  expect(await check(checker, 'ann', 'two')).toBe('wrong')
  expect(await check(checker, 'bob', 'two')).toBe('correct')
  expect(await check(checker, 'eve', 'one')).toBe('wrong')
  expect(await check(new PasswordChecker(new Map()), 'ann', 'one')).toBe('wrong')
})

it('an unknown user costs one hash, as a known one', async () => {
  const checker = await checkerOf({ ann: 'one' })
  expect(await hashesOf(checker, () => check(checker, 'ann', 'wrong'))).toBe(1)
  expect(await hashesOf(checker, () => check(checker, 'eve', 'wrong'))).toBe(1)
})

it('the same password sent again costs no hash, whether it is right or wrong', async () => {
  const checker = await checkerOf({ ann: 'one' })
  for (const [user, password, result] of [
    ['ann', 'one', 'correct'],
    ['ann', 'two', 'wrong'],
    ['eve', 'one', 'wrong'],
  ] as const) {
    expect(await check(checker, user, password)).toBe(result)
    const again = hashesOf(checker, async () => expect(await check(checker, user, password)).toBe(result))
    expect(await again).toBe(0)
  }
})

it('a changed file decides at once, also about passwords that are remembered', async () => {
  const checker = await checkerOf({ ann: 'one', bob: 'two' })
  await check(checker, 'ann', 'one')
  await check(checker, 'bob', 'two')
  await check(checker, 'ann', 'new')
  checker.replace(parsePasswordFile(await lines({ ann: 'new' }), 'passwords'))
  expect(await check(checker, 'ann', 'one')).toBe('wrong')
  expect(await check(checker, 'ann', 'new')).toBe('correct')
  expect(await check(checker, 'bob', 'two')).toBe('wrong')
})

it('a user removed while the password is hashed is not accepted', async () => {
  const checker = await checkerOf({ ann: 'one' })
  const result = check(checker, 'ann', 'one')
  checker.replace(new Map())
  expect(await result).toBe('wrong')
})

it('remembers a bounded number of wrong passwords, the latest ones', async () => {
  const checker = await checkerOf({ ann: 'one' })
  for (let n = 0; n <= MAX_SIZES.rememberedWrongPasswords; n++) await check(checker, 'ann', `wrong ${n}`)
  expect(await hashesOf(checker, () => check(checker, 'ann', 'wrong 1'))).toBe(0)
  expect(await hashesOf(checker, () => check(checker, 'ann', 'wrong 0'))).toBe(1)
})

it('hashes a bounded number at the same time, and refuses what cannot wait', async () => {
  const checker = await checkerOf({ ann: 'one' })
  const most = MAX_SIZES.concurrentPasswordHashes + MAX_SIZES.waitingPasswordsPerAddress
  const results = await Promise.all(
    Array.from({ length: most + 5 }, (_, n) => check(checker, 'ann', `wrong ${n}`)),
  )
  expect(results.filter(result => result === 'wrong').length).toBe(most)
  expect(results.filter(result => result === 'busy').length).toBe(5)
})

it('a password that is too long is wrong without a hash', async () => {
  const checker = await checkerOf({ ann: 'x'.repeat(MAX_SIZES.passwordBytes + 1) })
  const long = 'x'.repeat(MAX_SIZES.passwordBytes + 1)
  expect(await hashesOf(checker, async () => expect(await check(checker, 'ann', long)).toBe('wrong'))).toBe(0)
})
