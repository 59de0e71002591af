-- The twin of quota.ts. Lua knows no time zones: limit.borders are the start of the caller's window, its end, and the
-- end of the next. A moment outside of them is answered with them all anew.
return windowTwin(function(moment, limit)
  local borders = limit.borders
  -- What is carried over from before the caller's window does not count in it: its end need not be known.
  if carrying and moment < borders[1] then return borders[1] end
  if carrying and moment >= borders[3] then return moment + 1 end
  if moment < borders[1] or moment >= borders[3] then outsideBorders = true end
  return moment < borders[2] and borders[2] or borders[3]
end)
