--- Stops waiting for a plugin server that does not answer, per worker.
--
-- Two missing answers within a second open it: requests are answered at once. Every half second one request is let
-- through as a probe; a good answer closes it. Times are seconds, given by the caller. The time that was spent waiting
-- does not count: four hung plugins of the pdk lane take 1.2 s together, and with probes counted from their start a
-- client that sends one request after the other would make nothing but probes. For the same reason the next probe is
-- later by what the last one took: while one worker waits, the others' half seconds pass too.
-- After two seconds in which nobody asked nothing is known any more: all may ask, and one miss opens it again. Of a few
-- requests that come together then, one would be answered and the others refused for a server that is long back.

local M = {}
M.__index = M

local MISSES, WINDOW, PROBE_EVERY, FORGET = 2, 1.0, 0.5, 2.0

function M.new()
  return setmetatable({ misses = 0, first = 0, open = false, probe = 0 }, M)
end

--- Whether this request may ask. While open, true means that it is the probe.
function M:allow(now)
  if not self.open then
    return true
  end
  local since = now - self.probe
  if since >= FORGET then
    self.misses, self.first, self.open = MISSES - 1, now, false
    return true
  end
  if since >= PROBE_EVERY then
    self.probe = now
    return true
  end
  return false
end

--- An answer did not come to a question that was asked at the time asked.
function M:miss(now, asked)
  if self.open then
    self.probe = now + (now - asked)
    return
  end
  if self.misses == 0 or asked - self.first > WINDOW then
    self.misses, self.first = 1, now
    return
  end
  self.misses = self.misses + 1
  if self.misses >= MISSES then
    self.open, self.probe = true, now
  end
end

--- An answer came.
function M:good()
  if self.misses ~= 0 or self.open then
    self.misses, self.open = 0, false
  end
end

return M
