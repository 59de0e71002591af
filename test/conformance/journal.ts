import type { CustomAlgorithm } from '../../src/algorithms/custom-algorithm-types.ts'

/**
 * Algorithm that stores its admissions of the last period as pairs of time and thousandths: a state of variable size.
 */
export const journal: CustomAlgorithm = {
  name: 'journal',
  step(state = [], nowMs, cost, { capacity, periodMs }) {
    const at = Math.max(nowMs, state.at(-2) ?? 0)
    const asked = Math.round(cost * 1000)
    const most = 1000 * capacity
    const live: number[] = []
    let used = 0
    for (let place = 0; place < state.length; place += 2) {
      if (state[place]! <= at - periodMs) continue
      live.push(state[place]!, state[place + 1]!)
      used += state[place + 1]!
    }
    let over = used + asked - most
    const allowed = over <= 0
    let retryAfterMs = asked > most ? Infinity : 0
    for (let place = 0; over > 0 && asked <= most; place += 2) {
      over -= live[place + 1]!
      retryAfterMs = live[place]! + periodMs - at
    }
    if (allowed && asked > 0) {
      live.push(at, asked)
      used += asked
    }
    const resetMs = live.length > 0 ? live.at(-2)! + periodMs - at : 0
    const expireInMs = resetMs + at - nowMs
    return {
      state: live,
      allowed,
      remaining: Math.floor((most - used) / 1000),
      retryAfterMs,
      resetMs,
      expireInMs,
    }
  },
  lua: `
    state = state or {}
    local at = math.max(now, state[#state - 1] or 0)
    local asked, most = math.floor(cost * 1000 + 0.5), 1000 * limit.capacity
    local live, used = {}, 0
    for place = 1, #state, 2 do
      if state[place] > at - limit.periodMs then
        live[#live + 1], live[#live + 2] = state[place], state[place + 1]
        used = used + state[place + 1]
      end
    end
    local over = used + asked - most
    local allowed, wait, place = over <= 0, asked > most and -1 or 0, 1
    while over > 0 and asked <= most do
      over, wait, place = over - live[place + 1], live[place] + limit.periodMs - at, place + 2
    end
    if allowed and asked > 0 then
      live[#live + 1], live[#live + 2] = at, asked
      used = used + asked
    end
    local reset = #live > 0 and live[#live - 1] + limit.periodMs - at or 0
    return { state = live, allowed = allowed, remaining = math.floor((most - used) / 1000), retryAfterMs = wait,
      resetMs = reset, expireInMs = reset + at - now }`,
}
