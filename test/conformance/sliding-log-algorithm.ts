import type { CustomAlgorithm } from '../../src/algorithms/custom-algorithm-types.ts'

/**
 * Custom algorithm that admits at most `capacity` units in any period. Its state has a variable size: the admissions of the
 * last period, as pairs of a time in milliseconds and a cost in thousandths of a unit.
 */
export const slidingLog: CustomAlgorithm = {
  name: 'custom-sliding-log',
  step(state = [], nowMs, cost, { capacity, periodMs }) {
    const at = Math.max(nowMs, state.at(-2) ?? 0)
    const asked = Math.round(cost * 1000)
    const most = 1000 * capacity
    const live: number[] = []
    let used = 0
    for (let index = 0; index < state.length; index += 2) {
      if (state[index]! <= at - periodMs) continue
      live.push(state[index]!, state[index + 1]!)
      used += state[index + 1]!
    }
    let over = used + asked - most
    const allowed = over <= 0
    let retryAfterMs = asked > most ? Infinity : 0
    for (let index = 0; over > 0 && asked <= most; index += 2) {
      over -= live[index + 1]!
      retryAfterMs = live[index]! + periodMs - at
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
    for index = 1, #state, 2 do
      if state[index] > at - limit.periodMs then
        live[#live + 1], live[#live + 2] = state[index], state[index + 1]
        used = used + state[index + 1]
      end
    end
    local over = used + asked - most
    local allowed, wait, index = over <= 0, asked > most and -1 or 0, 1
    while over > 0 and asked <= most do
      over, wait, index = over - live[index + 1], live[index] + limit.periodMs - at, index + 2
    end
    if allowed and asked > 0 then
      live[#live + 1], live[#live + 2] = at, asked
      used = used + asked
    end
    local reset = #live > 0 and live[#live - 1] + limit.periodMs - at or 0
    return { state = live, allowed = allowed, remaining = math.floor((most - used) / 1000), retryAfterMs = wait,
      resetMs = reset, expireInMs = reset + at - now }`,
}
