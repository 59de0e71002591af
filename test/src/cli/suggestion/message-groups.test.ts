import { describe, expect, it } from 'vitest'
import { MessageGroups } from '../../../../src/cli/suggestion/message-groups.ts'
import type { Message } from '../../../../src/core/message.ts'

describe('the keys of groups', () => {
  it('are short, also for long names and topics', () => {
    const topic = `${'a'.repeat(30_000)}/${'b'.repeat(30_000)}`
    const message: Message = { topic, on: 'publish', size: 0, sender: { client: 'c'.repeat(60_000) } }
    for (const per of ['client', 'topic', 'level2']) {
      const groups = new MessageGroups(
        [{ name: per, on: 'publish', topic: '{level1}/{level2}', per }],
        'mqtt',
      )
      groups.visit(message, (_, key) => expect(key).toMatch(/^sha256:.{43}$/))
      expect.hasAssertions()
    }
  })
})
