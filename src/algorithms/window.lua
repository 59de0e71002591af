-- Returns the kernel of a window algorithm; computes the same numbers as window.ts. Cells: last charge, grains used in
-- its window, and the end of that window. Why the end: callers with other windows can read the cells, too.
local function windowAlgorithm(endAfter)
  local function usedAt(cells, moment)
    return moment < cells[3] and cells[2] or 0
  end

  local function endOf(cells, moment, limit)
    return moment < cells[3] and cells[3] or endAfter(moment, limit)
  end

  return {
    format = '<ddd',
    packing = '<c0ddd',

    initialize = function()
      return {0, 0, 0}, false
    end,

    probe = function(cells, now, grains, limit)
      local moment = max(now, cells[1])
      local used = usedAt(cells, moment)
      local leftMs = endOf(cells, moment, limit) - moment
      local after = used + grains
      local allowed = after <= limit.countGrains
      local held = allowed and after or used
      local remaining = max(0, floor((limit.countGrains - held) / limit.scale))
      local retryAfterMs = allowed and 0 or grains > limit.countGrains and huge or leftMs
      return allowed, remaining, retryAfterMs, held > 0 and leftMs or 0
    end,

    charge = function(cells, now, grains, limit)
      local moment = max(now, cells[1])
      local used, endMs = usedAt(cells, moment), endOf(cells, moment, limit)
      cells[1], cells[2], cells[3] = moment, used + grains, endMs
    end,

    refund = function(cells, now, grains)
      cells[2] = max(0, usedAt(cells, max(now, cells[1])) - grains)
    end,

    migrate = function(cells, since, old, limit)
      if old.periodMs ~= limit.periodMs or old.calendar ~= limit.calendar then
        local moment = max(since, cells[1])
        cells[1], cells[2], cells[3] = moment, usedAt(cells, moment), endAfter(moment, limit)
      end
      cells[2] = rescale(cells[2], limit.scale, old.scale)
    end,

    usedGrains = function(cells, now)
      return usedAt(cells, max(now, cells[1]))
    end,

    setUsed = function(now, grains, limit)
      return {now, grains, endAfter(now, limit)}
    end,

    fullAtMs = function(cells)
      return cells[2] > 0 and cells[3] or cells[1]
    end,
  }
end
