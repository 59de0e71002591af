-- Shared helpers of the Lua algorithms, and their table: functions that create an algorithm, called only for those
-- a call needs.
local floor, ceil, max, min, huge = math.floor, math.ceil, math.max, math.min, math.huge
local sub, rep, find, format, pack = string.sub, string.rep, string.find, string.format, struct.pack
-- Larger numbers are not exact, nor are integer replies.
local EXACT = 2 ^ 53
-- Set by a quota that was asked about a time outside the windows it was sent.
local outsideBorders = false
-- True while cells are migrated to other numbers.
local isMigrating = false
-- Returns value * to / from of whole numbers, rounded up; exact even if value * to is not.
local function rescale(value, to, from)
  if to == from then return value end
  return floor(value / from) * to + ceil(((value % from) * to) / from)
end
local algorithms = {}
