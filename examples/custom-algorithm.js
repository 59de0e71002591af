// An algorithm of one's own, by its name in a policy. Run: node examples/custom-algorithm.js
import { createSender, Gate } from 'topicgate'
import { twoSpeeds } from './two-speeds.js'

let now = 0
const clock = { now: () => now, after: () => () => {} }
const policy = {
  rules: [{ name: 'steady', limit: '10/s', per: 'client', algorithm: 'two-speeds', exceeded: 'drop' }],
}
const gate = await Gate.fromPolicy(policy, { clock, algorithms: [twoSpeeds] })

// One who sends a hundred messages a second, without a rest.
const message = { topic: 'a', sender: createSender({ client: 'c1' }), size: 0 }
const passed = Array(30).fill(0)
for (; now < 30_000; now += 10) {
  if (gate.checkSync(message).allowed) passed[Math.floor(now / 1000)]++
}
console.log(`passed in each second: ${passed.join(' ')}`)
await gate.close()
