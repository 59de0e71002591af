-- Decides, peeks and refunds for several messages in one step.
-- KEYS: state keys, each once.
-- ARGV[1], JSON: deadlineMs of the server's clock · nowMs (absent: the server's) · graceMs added to times to live ·
--   limits, each with its age and those before it (header, age) · messages, flat: kind (see
--   script-args.ts), number of charges, then for each: key, limit (from 1), grains, soft (0 or 1).
-- Answers: status, the server's time, then for each charge that was not a refund: remaining, retryAfterMs (0: allowed,
--   -1: never), resetMs.
local DONE, LATE, OUTSIDE = 0, 1, 2
local PEEK, COMMIT, REFUND = 0, 1, 2
-- A century: more would overflow the server's own clock.
local LONGEST_MS = 3155760000000
-- Times to live are multiples of this. Why: most charges of a busy key then do not change its time to live, which
-- saves the server a third.
local EXPIRY_STEP_MS = 1024
-- A bucket that starts below full is distinguished from an unseen one for 30 days after its last charge, in steps
-- of a day.
local SEEN_MS, SEEN_STEP_MS = 2592000000, 86400000

local call = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local serverMs = time[1] * 1000 + floor(time[2] / 1000)
if serverMs > call.deadlineMs then return {LATE, serverMs} end
local nowMs, graceMs = call.nowMs or serverMs, call.graceMs
local values = redis.call('MGET', unpack(KEYS))

local kernels = {}
local function getKernel(algorithm)
  if kernels[algorithm] == nil and algorithms[algorithm] then kernels[algorithm] = algorithms[algorithm]() end
  return kernels[algorithm]
end
for _, limit in ipairs(call.limits) do
  limit.kernel, limit.since = getKernel(limit.algorithm), nowMs - limit.ago
  for _, change in ipairs(limit.before) do change.since = nowMs - change.ago end
end

local function gcd(a, b)
  while b > 0 do a, b = b, a % b end
  return a
end

-- Steps of a grain: same as stepsOf in create-limit.ts.
local DAY_MS, SPARE = 86400000, 1024
local function stepsOf(countGrains, periodMs, mostGrains)
  local common = (periodMs / gcd(DAY_MS, periodMs)) * DAY_MS
  if mostGrains * common <= EXACT / 2 then return common end
  if mostGrains * periodMs <= EXACT / 2 then return periodMs end
  return periodMs / gcd(countGrains, periodMs)
end

-- Returns the limit by which a stored value was counted, and the position of its cells. A value starts with "2
-- algorithm scale countGrains periodMs capacityGrains calendar\n"; for a bucket that starts below full, `initial`
-- replaces the calendar.
local function readHeader(value, key)
  local algorithm, scale, count, period, capacity, calendar, at =
    value:match('^2 (%S+) (%d+) (%d+) (%d+) (%d+) ?([^\n]*)\n()')
  if algorithm == nil then
    error('the key ' .. key .. ' is not of this version of topicgate: give it a prefix of its own')
  end
  local limit = {
    algorithm = algorithm, scale = tonumber(scale), countGrains = tonumber(count), periodMs = tonumber(period),
    capacityGrains = tonumber(capacity), calendar = calendar, kernel = getKernel(algorithm),
  }
  limit.count, limit.capacity = limit.countGrains / limit.scale, limit.capacityGrains / limit.scale
  local most = limit.capacityGrains * (algorithm == 'lb' and SPARE or 1)
  limit.stepsPerGrain = stepsOf(limit.countGrains, limit.periodMs, most)
  limit.stepsPerMs = limit.countGrains * limit.stepsPerGrain / limit.periodMs
  return limit, at
end

-- By key: its cells, the limit they are counted by, whether the cells differ from the stored ones (partly full at
-- start, or migrated), and whether they must be written.
local cellsOf, limitOf, changed, dirty = {}, {}, {}, {}
-- Expiry of a stored key by itself, if known.
local expiryOf = {}

local function startsBelowFull(limit)
  return limit.calendar == 'initial'
end

-- Returns the end of a key's time to live, and the time before which it must not be forgotten because it is not
-- full.
local function expiryAfter(cells, limit)
  local keptUntil, step = limit.kernel.fullAtMs(cells, limit), EXPIRY_STEP_MS
  if startsBelowFull(limit) then keptUntil, step = max(keptUntil, cells[1] + SEEN_MS), SEEN_STEP_MS end
  if keptUntil > nowMs + LONGEST_MS then keptUntil = nowMs + LONGEST_MS end
  return keptUntil - keptUntil % step + step, keptUntil
end

-- Returns true if cells have the same meaning and effect under two limits of one algorithm: same as haveSameStateFormat in
-- limit-types.ts.
local function haveSameStateFormat(old, limit)
  if limit.stateSize then return true end
  if old.scale ~= limit.scale then return false end
  if limit.algorithm == 'tb' or limit.algorithm == 'lb' then
    return old.stepsPerGrain == limit.stepsPerGrain and old.stepsPerMs == limit.stepsPerMs
  end
  return old.periodMs == limit.periodMs and old.calendar == limit.calendar
end

-- Migrates the cells of a key from one limit to the next, active from a given time. Returns nil for a key that
-- then equals an unseen one, or whose algorithm is unknown.
local function migrateOnce(cells, old, limit, since)
  local moment, isSame = max(since, tonumber(cells[1]) or 0), old.algorithm == limit.algorithm
  if not old.kernel or not limit.kernel then return nil end
  -- Full keys of a limit that starts full were forgotten, so the other limit treats none of them as seen.
  if (startsBelowFull(limit) and not startsBelowFull(old)) or not isSame then
    if old.kernel.fullAtMs(cells, old) <= moment then return nil end
  end
  if isSame then
    if not haveSameStateFormat(old, limit) then limit.kernel.migrate(cells, since, old, limit) end
    return cells
  end
  local units = old.kernel.usedGrains(cells, moment, old) / old.scale
  return limit.kernel.setUsed(moment, ceil(units * limit.scale), limit)
end

-- Limits by header, parsed once per call.
local read = {}
local function limitOfHeader(header, key)
  if not read[header] then read[header] = readHeader(header, key) end
  return read[header]
end

-- Returns the index of the limit's first change still to apply to the cells, from 1 to #before + 1: see
-- findLimitChanges in limit-history-for-migration.ts.
local function firstChange(limit, header, last)
  local before, known, later, inForce = limit.before, nil, nil, 1
  for index = 1, #before + 1 do
    local change = before[index] or limit
    if change.header == header then
      if change.since <= last then known = index end
      later = later or index
    end
    if change.since <= last then inForce = index end
  end
  known = known or later
  return known and known + 1 or inForce
end

-- Migrates to another limit: used units are counted by the limit before, up to the time of each change.
local function adopt(key, old, header, limit)
  limitOf[key] = limit
  local cells, before = cellsOf[key], limit.before
  -- The state of a custom algorithm is kept unchanged, whatever its time.
  local last = limit.stateSize and huge or cells and tonumber(cells[1]) or 0
  local first = firstChange(limit, header, last)
  if first > #before + 1 then return end
  expiryOf[key], isMigrating = nil, true
  for index = first, #before + 1 do
    local change = before[index] or limit
    local next = index > #before and limit or limitOfHeader(change.header, KEYS[key])
    -- The windows around that change.
    if index <= #before then next.borders = change.borders end
    cells = cells and migrateOnce(cells, old, next, min(change.since, nowMs))
    old = next
  end
  isMigrating = false
  if cells then
    cellsOf[key], changed[key] = cells, true
  else
    cellsOf[key], changed[key] = limit.kernel.initialize(nowMs, limit)
  end
end

local function unpackCells(kernel, value, at)
  if kernel.unpack then return kernel.unpack(value, at) end
  return {struct.unpack(kernel.format, value, at)}
end

-- Loads the cells of a key, ready to be counted by a limit.
local function open(key, limit)
  local known, value = limitOf[key], values[key]
  if known then
    if values[key] or dirty[key] then return adopt(key, known, known.header, limit) end
    limitOf[key] = limit
    cellsOf[key], changed[key] = limit.kernel.initialize(nowMs, limit)
    return
  end
  limitOf[key] = limit
  if not value then
    cellsOf[key], changed[key] = limit.kernel.initialize(nowMs, limit)
    return
  end
  local header = limit.header
  if find(value, header, 1, true) == 1 then
    local cells = unpackCells(limit.kernel, value, #header + 1)
    cellsOf[key] = cells
    if graceMs == 0 then expiryOf[key] = expiryAfter(cells, limit) end
    if #limit.before > 0 then adopt(key, limit, header, limit) end
    return
  end
  local old, at = readHeader(value, KEYS[key])
  cellsOf[key] = old.kernel and unpackCells(old.kernel, value, at)
  adopt(key, old, sub(value, 1, at - 1), limit)
end

-- Formats a number that is not an integer reply.
local function wordOf(number)
  return number == huge and -1 or format('%.17g', number)
end

local reply, size = {DONE, serverMs}, 2
local messages, limits = call.messages, call.limits
-- Sum by key of the charges of one message that fit: they are taken together.
local sumOf = {}
local at = 1
while messages[at] do
  local kind, first, last = messages[at], at + 2, at + 4 * messages[at + 1] + 1
  local denied = false
  for index = first, last, 4 do
    local key, limit, grains = messages[index], limits[messages[index + 1]], messages[index + 2]
    if limitOf[key] ~= limit then open(key, limit) end
    if kind == REFUND then
      if values[key] or dirty[key] then
        limit.kernel.refund(cellsOf[key], nowMs, grains, limit)
        dirty[key] = true
      end
    else
      local sum = sumOf[key] and sumOf[key] + grains or grains
      local allowed, remaining, retryAfterMs, resetMs = limit.kernel.probe(cellsOf[key], nowMs, sum, limit)
      reply[size + 1] = remaining < EXACT and remaining or wordOf(remaining)
      reply[size + 2] = retryAfterMs < EXACT and retryAfterMs or wordOf(retryAfterMs)
      reply[size + 3] = resetMs < EXACT and resetMs or wordOf(resetMs)
      size = size + 3
      if allowed then
        sumOf[key] = sum
      elseif messages[index + 3] == 0 then
        denied = true
      end
      -- A bucket that starts partly full also begins to fill when its first charge is denied.
      if changed[key] and kind ~= PEEK then dirty[key] = true end
    end
  end
  local takes = kind == COMMIT and not denied
  for index = first, last, 4 do
    local key = messages[index]
    local sum = sumOf[key]
    if sum then
      if takes then
        local limit = limitOf[key]
        limit.kernel.charge(cellsOf[key], nowMs, sum, limit)
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
    local kernel = limit.kernel
    local expiry, keptUntil = expiryAfter(cells, limit)
    if keptUntil + graceMs > nowMs then
      local header, packing = limit.header, kernel.packing
      local packed = packing and pack(packing, header, cells[1], cells[2], cells[3]) or kernel.pack(header, cells)
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
