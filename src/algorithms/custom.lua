-- Returns the kernel of a custom algorithm: the same as custom-kernel.ts. `step` is the Lua code of its step, `giveBack`
-- that of its refund; nil if it has none. Cells: the state (nil for an unseen key) and the time at which the key is full
-- again.
local function customAlgorithm(name, step, giveBack)
  local function flawed(flaw)
    error('the Lua code of the algorithm "' .. name .. '" ' .. flaw)
  end

  local function whole(result, field)
    local value = result[field]
    if type(value) ~= 'number' or value < 0 or value ~= floor(value) or value >= EXACT then
      flawed('returned no whole number as ' .. field)
    end
    return value
  end

  local function ask(state, now, grains, limit)
    local copy = state and {unpack(state)} or nil
    local ran, result = pcall(step, copy, now, grains / limit.scale, limit)
    if not ran then flawed('failed: ' .. tostring(result)) end
    if type(result) ~= 'table' or type(result.allowed) ~= 'boolean' then flawed('returned no answer') end
    local wait = result.retryAfterMs
    if result.allowed then
      wait = 0
    elseif wait == -1 then
      wait = huge
    elseif whole(result, 'retryAfterMs') == 0 then
      flawed('denies and says that no wait is needed')
    end
    return result, whole(result, 'remaining'), wait, whole(result, 'resetMs'), whole(result, 'expireInMs')
  end

  local function checked(state, most)
    if type(state) ~= 'table' or #state > most then flawed('returned no state, or one too large') end
    for index = 1, #state do
      local number = state[index]
      if type(number) ~= 'number' or number - number ~= 0 then flawed('returned a state of more than numbers') end
    end
    return #state > 0 and state or nil
  end

  local function keep(cells, now, grains, limit)
    local result, _, _, _, expireInMs = ask(cells.state, now, grains, limit)
    if not result.allowed then return false end
    cells.state, cells.fullAtMs = checked(result.state, limit.stateSize), now + expireInMs
    return true
  end

  return {
    initialize = function()
      return {fullAtMs = 0}, false
    end,

    pack = function(header, cells)
      local state = cells.state or {}
      return pack('<c0d' .. rep('d', #state), header, cells.fullAtMs, unpack(state))
    end,

    unpack = function(value, at)
      local cells = {fullAtMs = (struct.unpack('<d', value, at))}
      local count = (#value - at + 1) / 8 - 1
      if count > 0 then
        cells.state = {struct.unpack('<' .. rep('d', count), value, at + 8)}
        cells.state[count + 1] = nil
      end
      return cells
    end,

    probe = function(cells, now, grains, limit)
      local result, remaining, retryAfterMs, resetMs = ask(cells.state, now, grains, limit)
      return result.allowed, remaining, retryAfterMs, resetMs
    end,

    charge = function(cells, now, grains, limit)
      if not keep(cells, now, grains, limit) then flawed('answers the same differently') end
    end,

    refund = function(cells, now, grains, limit)
      if giveBack == nil or cells.state == nil then return end
      local ran, state = pcall(giveBack, {unpack(cells.state)}, now, grains / limit.scale, limit)
      if not ran then flawed('failed in its refund: ' .. tostring(state)) end
      cells.state = checked(state, #cells.state)
    end,

    usedGrains = function(cells, now, limit)
      if cells.state == nil then return 0 end
      local _, remaining = ask(cells.state, now, 0, limit)
      return max(0, limit.capacityGrains - remaining * limit.scale)
    end,

    setUsed = function(now, grains, limit)
      local cells = {fullAtMs = 0}
      keep(cells, now, min(grains, limit.capacityGrains), limit)
      return cells
    end,

    fullAtMs = function(cells)
      return cells.fullAtMs
    end,
  }
end
