import { Gate, limit } from 'topicgate'

/** Asks a store about four messages of which it lets two pass; throws if it decides otherwise or by its fallback. */
export async function checkStoreHealth(name, store) {
  await store.ready?.()
  const gate = new Gate({ store }).use(limit({ name: 'r', limit: '2/day', per: 'client' }))
  const decisions = []
  for (let index = 0; index < 4; index++) {
    decisions.push(await gate.check({ topic: 'a', sender: { client: name }, size: 1 }))
  }
  await gate.close()
  await store.close()
  const answers = decisions
    .map(({ allowed, fallback }) => `${allowed}${fallback ? ' (fallback)' : ''}`)
    .join()
  expectEqual(name, answers, 'true,true,false,false')
}

export function expectEqual(title, found, expected) {
  if (found !== expected) throw new Error(`${title}: expected ${expected}, found ${found}`)
}

/** Waits until a condition holds, ten seconds at most. */
export async function until(title, condition) {
  for (let left = 1_000; !condition(); left--) {
    if (left === 0) throw new Error(`${title}: not within ten seconds`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
