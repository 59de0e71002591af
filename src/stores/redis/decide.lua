-- Decides, peeks and refunds for several messages in one step.
-- KEYS: state keys, each once.
-- ARGV[1], JSON: deadlineMs of the server's clock · nowMs (absent: the server's) · graceMs added to times to live ·
--   limits · messages, flat: kind (see call-text.ts), number of charges, then of each: key, limit (from 1), grains, soft (0 or 1).
-- Answers: status, the server's time, then for each charge that was not a refund: remaining, retryAfterMs (0: allowed,
--   -1: never), resetMs.
local DONE, LATE, OUTSIDE = 0, 1, 2
local PEEK, COMMIT, REFUND = 0, 1, 2
-- A century: more would overflow the server's own clock.
local LONGEST_MS = 3155760000000

local call = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local serverMs = time[1] * 1000 + floor(time[2] / 1000)
if serverMs > call.deadlineMs then return {LATE, serverMs} end
local nowMs = call.nowMs or serverMs
local values = redis.call('MGET', unpack(KEYS))

local made = {}
local function twinOf(algorithm)
  if made[algorithm] == nil and twins[algorithm] then made[algorithm] = twins[algorithm]() end
  return made[algorithm]
end
for _, limit in ipairs(call.limits) do limit.twin = twinOf(limit.algorithm) end

local function gcd(a, b)
  while b > 0 do a, b = b, a % b end
  return a
end

-- The limit by which a stored value was counted, and where its cells begin. A value starts with
-- "1 algorithm scale countGrains periodMs capacityGrains calendar\n".
local function readHeader(value, key)
  local algorithm, scale, count, period, capacity, calendar, at =
    value:match('^1 (%S+) (%d+) (%d+) (%d+) (%d+) ?([^\n]*)\n()')
  if algorithm == nil then
    error('the key ' .. key .. ' is not of this version of topicgate: give it a prefix of its own')
  end
  local limit = {
    algorithm = algorithm, scale = tonumber(scale), countGrains = tonumber(count), periodMs = tonumber(period),
    capacityGrains = tonumber(capacity), calendar = calendar, twin = twinOf(algorithm),
  }
  limit.count, limit.capacity = limit.countGrains / limit.scale, limit.capacityGrains / limit.scale
  local divisor = gcd(limit.countGrains, limit.periodMs)
  limit.stepsPerGrain = limit.periodMs / divisor
  limit.stepsPerMs = limit.countGrains / divisor
  return limit, at
end

-- Whether the cells of one limit mean the same under another.
local function keepsCells(old, limit)
  if old.algorithm ~= limit.algorithm then return false end
  if limit.stateSize then return true end
  return old.periodMs == limit.periodMs and old.scale == limit.scale and old.calendar == limit.calendar
    and (old.algorithm ~= 'token-bucket' or old.stepsPerGrain == limit.stepsPerGrain)
end

-- Counts on by another limit: nothing that was used is given back.
local function adopt(state, limit)
  local old, twin = state.limit, state.limit.twin
  state.limit = limit
  if old.header == limit.header or keepsCells(old, limit) then return end
  local carried = state.present and twin and twin.wholeAt(state.cells, old) > nowMs
  if carried then
    local units = twin.spent(state.cells, nowMs, old) / old.scale
    state.cells, state.changed = limit.twin.seed(nowMs, ceil(units * limit.scale), limit), true
  else
    state.cells, state.changed = limit.twin.begin(nowMs, limit)
  end
end

local function unpackCells(twin, value, at)
  if twin.unpack then return twin.unpack(value, at) end
  return {struct.unpack(twin.format, value, at)}
end

-- By key: its cells, the limit they are counted by, whether the key is there, and whether it is to be written.
local held = {}
local function stateOf(key, limit)
  local state = held[key]
  if state == nil then
    local value = values[key]
    if not value then
      local cells, changed = limit.twin.begin(nowMs, limit)
      state = {cells = cells, limit = limit, present = false, changed = changed, dirty = false}
    elseif sub(value, 1, #limit.header) == limit.header then
      local cells = unpackCells(limit.twin, value, #limit.header + 1)
      state = {cells = cells, limit = limit, present = true, changed = false, dirty = false}
    else
      local old, at = readHeader(value, KEYS[key])
      local cells = old.twin and unpackCells(old.twin, value, at)
      state = {cells = cells, limit = old, present = true, changed = false, dirty = false}
      adopt(state, limit)
    end
    held[key] = state
  elseif state.limit ~= limit then
    adopt(state, limit)
  end
  return state
end

local function whole(number)
  if number < EXACT then return number end
  return number == huge and -1 or format('%.17g', number)
end

local reply, size = {DONE, serverMs}, 2
local messages, limits = call.messages, call.limits
local at, states = 1, {}
while messages[at] do
  local kind, first, last = messages[at], at + 2, at + 4 * messages[at + 1] + 1
  local denied = false
  for place = first, last, 4 do
    local limit, grains = limits[messages[place + 1]], messages[place + 2]
    local state = stateOf(messages[place], limit)
    if kind == REFUND then
      if state.present or state.dirty then
        limit.twin.refund(state.cells, nowMs, grains, limit)
        state.dirty = true
      end
    else
      -- Charges of one key add up: the last that fits is taken for all of them.
      local sum = grains
      if state.first == first then sum = sum + state.sum else state.first, state.sum, state.fits = first, 0, false end
      local allowed, remaining, retryAfterMs, resetMs = limit.twin.probe(state.cells, nowMs, sum, limit)
      reply[size + 1], reply[size + 2], reply[size + 3] = whole(remaining), whole(retryAfterMs), whole(resetMs)
      size = size + 3
      states[place] = state
      if allowed then
        state.sum, state.fits = sum, true
      elseif messages[place + 3] == 0 then
        denied = true
      end
      -- A bucket that begins part full begins so also when it is first seen by what it denies.
      if kind ~= PEEK and state.changed then state.dirty = true end
    end
  end
  if kind == COMMIT and not denied then
    for place = first, last, 4 do
      local state = states[place]
      if state.fits then
        state.limit.twin.take(state.cells, nowMs, state.sum, state.limit)
        state.dirty, state.fits = true, false
      end
    end
  end
  at = last + 1
end
if outsideBorders then return {OUTSIDE, serverMs} end

for key, state in pairs(held) do
  if state.dirty then
    local cells, limit = state.cells, state.limit
    local twin = limit.twin
    local liveMs = twin.wholeAt(cells, limit) - nowMs + call.graceMs
    if liveMs > 0 then
      local packed = twin.pack and twin.pack(cells) or struct.pack(twin.format, unpack(cells))
      redis.call('SET', KEYS[key], limit.header .. packed, 'PX', format('%.0f', min(liveMs, LONGEST_MS)))
    elseif state.present then
      redis.call('DEL', KEYS[key])
    end
  end
end
return reply
