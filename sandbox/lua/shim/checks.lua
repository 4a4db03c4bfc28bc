-- Arguments of the PDK: Kong's checks and the texts of its errors (level 3: the caller of the PDK function).
local M = {}
local fmt = string.format

local function name_of(name, level)
  if type(name) ~= "string" then
    error(fmt("invalid header name %q: got %s, expected string", tostring(name), type(name)), level + 1)
  end
end

local function list(name, value, level)
  for _, one in ipairs(value) do
    if type(one) ~= "string" then
      error(fmt("invalid header value in array %q: got %s, expected string", name, type(one)), level + 1)
    end
  end
end

-- One header's value as strings; an empty one is a space, as in Kong.
local function normal(value)
  if value == "" then return " " end
  if type(value) ~= "table" then return tostring(value) end
  local out = {}
  for i, one in ipairs(value) do out[i] = one == "" and " " or one end
  return out
end

function M.header(name, value)
  name_of(name, 3)
  local kind = type(value)
  if kind == "table" then
    list(name, value, 3)
  elseif kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    error(fmt("invalid header value for %q: got %s, expected array of string, string, number or boolean",
      name, kind), 3)
  end
  return normal(value)
end

function M.headers(headers)
  if type(headers) ~= "table" then error("headers must be a table", 3) end
  local out = {}
  for name, value in pairs(headers) do
    name_of(name, 3)
    local kind = type(value)
    if kind == "table" then
      list(name, value, 3)
    elseif kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      error(fmt("invalid header value for %q: got %s, expected string, number, boolean or array of strings",
        name, kind), 3)
    end
    out[name] = normal(value)
  end
  return out
end

function M.integer(what, value, low, high)
  if type(value) ~= "number" or math.floor(value) ~= value then error(what .. " must be an integer", 3) end
  if value < low or value > high then
    error(fmt("%s must be an integer between %d and %d: given %s", what, low, high, tostring(value)), 3)
  end
end

function M.text(what, value)
  if type(value) ~= "string" then error(what .. " must be a string", 3) end
end

function M.status(value, low)
  if type(value) ~= "number" then error("code must be a number", 3) end
  if value < low or value > 599 then error(fmt("code must be a number between %d and 599", low), 3) end
end

return M
