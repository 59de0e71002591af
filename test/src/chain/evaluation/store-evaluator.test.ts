import { expect, it } from 'vitest'
import { Gate, limit, type Message } from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const sender = { client: 'c' }

function messageOn(topic: string): Message {
  return { topic, on: 'publish', sender, size: 1 }
}

it('counts a message under its own key, although its sender has sent on another topic in the meantime', async () => {
  const gate = new Gate({ clock: new FakeClock() }).use(
    limit({ name: 'client', limit: '1000/h', per: 'client' }),
    async (_message, next) => {
      await Promise.resolve()
      return next()
    },
    limit({ name: 'topic', limit: '10/h', per: 'topic' }),
  )
  const topics = Array.from({ length: 40 }, (_, index) => `t/${index}`)
  for (const topic of topics) await gate.check(messageOn(topic))

  await Promise.all([...topics, ...topics].map(topic => gate.check(messageOn(topic))))

  for (const topic of topics) {
    const { limits } = await gate.explain(messageOn(topic))
    // The explained message counts as taken.
    expect(limits.find(({ rule }) => rule === 'topic')?.remaining).toBe(10 - 3 - 1)
  }
  await gate.close()
})
