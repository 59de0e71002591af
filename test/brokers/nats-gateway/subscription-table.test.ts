import { expect, it } from 'vitest'
import { SubscriptionTable } from '../../../brokers/nats-gateway/subscription-table.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'

it('finds the subscriber of a reply subject by the subject or a wildcard at its end', () => {
  const table = new SubscriptionTable()
  table.add('1', '_INBOX.a.*')
  table.add('2', '_INBOX.b.>')
  table.add('3', 'exact')
  table.add('4', '_INBOX.a.special')
  expect(table.answer('_INBOX.a.x')).toEqual({ sid: '1', maximum: undefined })
  expect(table.answer('_INBOX.b.x.y')?.sid).toBe('2')
  expect(table.answer('exact')?.sid).toBe('3')
  expect(table.answer('_INBOX.a.special')?.sid).toBe('4')
  expect(table.answer('_INBOX.a.x.y')).toBeUndefined()
  expect(table.answer('other')).toBeUndefined()
})

it('forgets subscriptions that end, at once or after their maximum', () => {
  const table = new SubscriptionTable()
  table.add('1', 'a')
  table.unsubscribe('1', 0)
  expect(table.answer('a')).toBeUndefined()
  table.add('2', 'b')
  table.unsubscribe('2', 2)
  expect(table.hasMaximums).toBe(true)
  table.countDelivery('2')
  expect(table.answer('b')).toEqual({ sid: '2', maximum: 0 })
  expect(table.answer('b')).toBeUndefined()
  table.add('3', 'c')
  table.countDelivery('3')
  table.unsubscribe('3', 1)
  expect(table.answer('c')).toBeUndefined()
  expect(table.hasMaximums).toBe(false)
})

it('knows at most so many subscriptions, with subjects of so many characters', () => {
  const table = new SubscriptionTable()
  table.add('long', 'x'.repeat(MAX_SIZES.replySubjectChars + 1))
  expect(table.answer('x'.repeat(MAX_SIZES.replySubjectChars + 1))).toBeUndefined()
  for (let sid = 0; sid <= MAX_SIZES.replySubscriptions; sid++) table.add(String(sid), `s${sid}`)
  expect(table.answer(`s${MAX_SIZES.replySubscriptions - 1}`)).toBeDefined()
  expect(table.answer(`s${MAX_SIZES.replySubscriptions}`)).toBeUndefined()
})
