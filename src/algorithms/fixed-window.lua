-- Computes the same numbers as fixed-window.ts.
return windowAlgorithm(function(moment, limit)
  return moment - moment % limit.periodMs + limit.periodMs
end)
