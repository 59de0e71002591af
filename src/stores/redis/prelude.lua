-- What the twins may use, and where they are put: each as a function that makes it, for only those a call needs.
local floor, ceil, max, min, huge = math.floor, math.ceil, math.max, math.min, math.huge
local sub, rep, find, format, pack = string.sub, string.rep, string.find, string.format, struct.pack
-- Whole numbers beyond are not exact, nor are integer replies.
local EXACT = 2 ^ 53
-- Set by a quota that was asked about a moment whose window it was not told of.
local outsideBorders = false
-- Whether cells are being carried over to other numbers.
local carrying = false
-- value * to / from of whole numbers, rounded up; exact also where value * to is not.
local function rescale(value, to, from)
  if to == from then return value end
  return floor(value / from) * to + ceil(((value % from) * to) / from)
end
local twins = {}
