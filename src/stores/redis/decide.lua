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
-- Times to live end at whole multiples of this: most charges of a busy key then leave its time to live as it is, which
-- costs the server a third less.
local EXPIRY_STEP_MS = 1024
-- A bucket that starts below full is told apart from one never seen for 30 days after its last charge, in steps of a day.
local SEEN_MS, SEEN_STEP_MS = 2592000000, 86400000

local call = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local serverMs = time[1] * 1000 + floor(time[2] / 1000)
if serverMs > call.deadlineMs then return {LATE, serverMs} end
local nowMs, graceMs = call.nowMs or serverMs, call.graceMs
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

-- Steps of a grain: the twin of stepsOf in create-limit.ts.
local DAY_MS, SPARE = 86400000, 1024
local function stepsOf(countGrains, periodMs, capacityGrains)
  local common = (periodMs / gcd(DAY_MS, periodMs)) * DAY_MS
  if capacityGrains * common <= EXACT / 2 / SPARE then return common end
  if capacityGrains * periodMs <= EXACT / 2 then return periodMs end
  return periodMs / gcd(countGrains, periodMs)
end

-- The limit by which a stored value was counted, and where its cells begin. A value starts with
-- "2 algorithm scale countGrains periodMs capacityGrains calendar\n".
local function readHeader(value, key)
  local algorithm, scale, count, period, capacity, calendar, at =
    value:match('^2 (%S+) (%d+) (%d+) (%d+) (%d+) ?([^\n]*)\n()')
  if algorithm == nil then
    error('the key ' .. key .. ' is not of this version of topicgate: give it a prefix of its own')
  end
  local limit = {
    algorithm = algorithm, scale = tonumber(scale), countGrains = tonumber(count), periodMs = tonumber(period),
    capacityGrains = tonumber(capacity), calendar = calendar, twin = twinOf(algorithm),
  }
  limit.count, limit.capacity = limit.countGrains / limit.scale, limit.capacityGrains / limit.scale
  limit.stepsPerGrain = stepsOf(limit.countGrains, limit.periodMs, limit.capacityGrains)
  limit.stepsPerMs = limit.countGrains * limit.stepsPerGrain / limit.periodMs
  return limit, at
end

-- Whether the cells of one limit mean the same under another.
local function keepsCells(old, limit)
  if old.algorithm ~= limit.algorithm then return false end
  if limit.stateSize then return true end
  return old.periodMs == limit.periodMs and old.scale == limit.scale and old.calendar == limit.calendar
    and (limit.stepsPerGrain == nil or old.stepsPerGrain == limit.stepsPerGrain)
end

-- Of each key: its cells, the limit they are counted by, whether its cells differ from what is stored (they begin part
-- full, or were carried over), and whether they are to be written.
local cellsOf, limitOf, changed, dirty = {}, {}, {}, {}
-- When a stored key expires by itself, where that is known.
local expiryOf = {}

local function startsBelowFull(limit)
  return limit.initialGrains ~= nil and limit.initialGrains < limit.capacityGrains
end

-- The end of a key's time to live, and the moment before which it must not be forgotten: not before it is whole.
local function expiryAfter(cells, limit)
  local keptUntil, step = limit.twin.wholeAt(cells, limit), EXPIRY_STEP_MS
  if startsBelowFull(limit) then keptUntil, step = max(keptUntil, cells[1] + SEEN_MS), SEEN_STEP_MS end
  if keptUntil > nowMs + LONGEST_MS then keptUntil = nowMs + LONGEST_MS end
  return keptUntil - keptUntil % step + step, keptUntil
end

-- The cells of a stored key that is whole.
local function fullCells(limit)
  if startsBelowFull(limit) then return limit.twin.seed(nowMs, 0, limit), true end
  return limit.twin.begin(nowMs, limit)
end

-- Counts on by another limit: nothing that was used is given back.
local function adopt(key, old, limit)
  limitOf[key], expiryOf[key] = limit, nil
  if old.header == limit.header or keepsCells(old, limit) then return end
  local twin, cells = old.twin, cellsOf[key]
  if (values[key] or dirty[key]) and twin and twin.wholeAt(cells, old) > nowMs then
    local units = twin.spent(cells, nowMs, old) / old.scale
    cellsOf[key], changed[key] = limit.twin.seed(nowMs, ceil(units * limit.scale), limit), true
  elseif values[key] or dirty[key] then
    cellsOf[key], changed[key] = fullCells(limit)
  else
    cellsOf[key], changed[key] = limit.twin.begin(nowMs, limit)
  end
end

local function unpackCells(twin, value, at)
  if twin.unpack then return twin.unpack(value, at) end
  return {struct.unpack(twin.format, value, at)}
end

-- Makes the cells of a key ready to be counted by a limit.
local function open(key, limit)
  local known, value = limitOf[key], values[key]
  if known then return adopt(key, known, limit) end
  limitOf[key] = limit
  if not value then
    cellsOf[key], changed[key] = limit.twin.begin(nowMs, limit)
    return
  end
  local header = limit.header
  if find(value, header, 1, true) == 1 then
    local cells = unpackCells(limit.twin, value, #header + 1)
    cellsOf[key] = cells
    if graceMs == 0 then expiryOf[key] = expiryAfter(cells, limit) end
    return
  end
  local old, at = readHeader(value, KEYS[key])
  cellsOf[key] = old.twin and unpackCells(old.twin, value, at)
  adopt(key, old, limit)
end

-- For a number that is no integer reply.
local function wordOf(number)
  return number == huge and -1 or format('%.17g', number)
end

local reply, size = {DONE, serverMs}, 2
local messages, limits = call.messages, call.limits
-- Of each key, what the charges of one message that fit ask of it: they add up, and are taken together.
local sumOf = {}
local at = 1
while messages[at] do
  local kind, first, last = messages[at], at + 2, at + 4 * messages[at + 1] + 1
  local denied = false
  for place = first, last, 4 do
    local key, limit, grains = messages[place], limits[messages[place + 1]], messages[place + 2]
    if limitOf[key] ~= limit then open(key, limit) end
    if kind == REFUND then
      if values[key] or dirty[key] then
        limit.twin.refund(cellsOf[key], nowMs, grains, limit)
        dirty[key] = true
      end
    else
      local sum = sumOf[key] and sumOf[key] + grains or grains
      local allowed, remaining, retryAfterMs, resetMs = limit.twin.probe(cellsOf[key], nowMs, sum, limit)
      reply[size + 1] = remaining < EXACT and remaining or wordOf(remaining)
      reply[size + 2] = retryAfterMs < EXACT and retryAfterMs or wordOf(retryAfterMs)
      reply[size + 3] = resetMs < EXACT and resetMs or wordOf(resetMs)
      size = size + 3
      if allowed then
        sumOf[key] = sum
      elseif messages[place + 3] == 0 then
        denied = true
      end
      -- A bucket that begins part full begins so also when it is first seen by what it denies.
      if changed[key] and kind ~= PEEK then dirty[key] = true end
    end
  end
  local takes = kind == COMMIT and not denied
  for place = first, last, 4 do
    local key = messages[place]
    local sum = sumOf[key]
    if sum then
      if takes then
        local limit = limitOf[key]
        limit.twin.take(cellsOf[key], nowMs, sum, limit)
        dirty[key] = true
      end
      sumOf[key] = false
    end
  end
  at = last + 1
end
if outsideBorders then return {OUTSIDE, serverMs} end

local run = redis.call
for key = 1, #KEYS do
  if dirty[key] then
    local cells, limit = cellsOf[key], limitOf[key]
    local twin = limit.twin
    local expiry, keptUntil = expiryAfter(cells, limit)
    if keptUntil + graceMs > nowMs then
      local header, packing = limit.header, twin.packing
      local packed = packing and pack(packing, header, cells[1], cells[2], cells[3]) or twin.pack(header, cells)
      if expiry == expiryOf[key] then
        run('SET', KEYS[key], packed, 'KEEPTTL')
      else
        run('SET', KEYS[key], packed, 'PX', expiry + graceMs - nowMs)
      end
    elseif values[key] then
      run('DEL', KEYS[key])
    end
  end
end
return reply
