import { expect, it } from 'vitest'
import { reAddEntryBody } from '../../../../src/dashboard/state/re-add-entry-body.ts'

const added = { addedBy: 'ann', addedAtMs: 1_000, reason: 'floods' }

it('adds an entry again with its own fields and the time it has left', () => {
  const ban = { ...added, id: 'client:d7', client: 'd7', outcome: 'drop', expiresAtMs: 5_000 } as const
  expect(reAddEntryBody('bans', ban, 2_000)).toEqual({ reason: 'floods', outcome: 'drop', for: 3_000 })
  const override = { ...added, id: 'user:ann', user: 'ann', limit: 'x2', rules: ['r'] }
  expect(reAddEntryBody('overrides', override, 2_000)).toEqual({
    reason: 'floods',
    limit: 'x2',
    rules: ['r'],
  })
})

it('keeps the senders of an exemption, which its name does not say', () => {
  const exemption = { ...added, id: 'night', name: 'night', clients: ['d7'] }
  expect(reAddEntryBody('exemptions', exemption, 2_000)).toEqual({ reason: 'floods', clients: ['d7'] })
})

it('does not add an entry again that has expired', () => {
  expect(reAddEntryBody('bans', { ...added, id: 'client:d7', expiresAtMs: 2_000 }, 2_000)).toBeUndefined()
})
