// A complete custom algorithm: its step, its refund, and their Lua code for Redis.
import { defineAlgorithm } from 'topicgate'

/**
 * Two buckets in one: the usual one, and one of ten times its size that refills at half the speed. Bursts pass as
 * ever; who goes on without a rest gets half the rate. What is missing from each is counted in 1/1000 unit × ms.
 */
export const twoSpeeds = defineAlgorithm({
  name: 'two-speeds',
  step([last, fast, slow] = [0, 0, 0], nowMs, cost, { count, periodMs, capacity }) {
    const at = Math.max(nowMs, last)
    const refill = (at - last) * count * 1000
    const unit = 1000 * periodMs
    const asked = Math.round(cost * 1000) * periodMs
    fast = Math.max(0, fast - refill)
    slow = Math.max(0, slow - refill)
    const over = Math.max(fast + asked - capacity * unit, slow + 2 * asked - 20 * capacity * unit)
    const allowed = over <= 0
    if (allowed) [fast, slow] = [fast + asked, slow + 2 * asked]
    const left = Math.min((capacity * unit - fast) / unit, (20 * capacity * unit - slow) / (2 * unit))
    const resetMs = Math.ceil(Math.max(fast, slow) / (count * 1000))
    const retryAfterMs = allowed ? 0 : cost > capacity ? Infinity : Math.ceil(over / (count * 1000))
    const expireInMs = resetMs + at - nowMs
    return {
      state: [at, fast, slow],
      allowed,
      remaining: Math.floor(left),
      retryAfterMs,
      resetMs,
      expireInMs,
    }
  },
  refund([at, fast, slow], _nowMs, cost, { periodMs }) {
    const given = Math.round(cost * 1000) * periodMs
    return [at, Math.max(0, fast - given), Math.max(0, slow - 2 * given)]
  },
  lua: `
    local last, fast, slow = unpack(state or {0, 0, 0})
    local at, unit = math.max(now, last), 1000 * limit.periodMs
    local refill, asked = (at - last) * limit.count * 1000, math.floor(cost * 1000 + 0.5) * limit.periodMs
    fast, slow = math.max(0, fast - refill), math.max(0, slow - refill)
    local most = limit.capacity * unit
    local over = math.max(fast + asked - most, slow + 2 * asked - 20 * most)
    local allowed, wait = over <= 0, math.ceil(over / (limit.count * 1000))
    if allowed then fast, slow = fast + asked, slow + 2 * asked end
    local left = math.min((most - fast) / unit, (20 * most - slow) / (2 * unit))
    local reset = math.ceil(math.max(fast, slow) / (limit.count * 1000))
    if cost > limit.capacity then wait = -1 end
    return { state = {at, fast, slow}, allowed = allowed, remaining = math.floor(left), retryAfterMs = wait,
      resetMs = reset, expireInMs = reset + at - now }`,
  luaRefund: `
    local given = math.floor(cost * 1000 + 0.5) * limit.periodMs
    return {state[1], math.max(0, state[2] - given), math.max(0, state[3] - 2 * given)}`,
})
