--- The Kong schema of a gate plugin in the express lane, made of the plugin info that the pdk lane's query_cmd
-- prints (schema.json beside the plugin's schema.lua): one schema for both lanes.

local cjson = require "cjson.safe"
local typedefs = require "kong.db.schema.typedefs"

local gsub, open, ipairs, next, error = string.gsub, io.open, ipairs, next, error
local package = package

local M = {}

local function read_info(name)
  local module = "kong.plugins." .. name .. ".schema"
  local lua = package.searchpath(module, package.path)
  local path = lua and gsub(lua, "schema%.lua$", "schema.json")
  local file, err = open(path or "schema.json", "rb")
  if not file then
    error("kgate: the schema of " .. name .. " is missing: " .. err .. " (reinstall kgate)")
  end
  local text = file:read("*a")
  file:close()
  local list, why = cjson.decode(text)
  if not list or not list[1] or list[1].Name ~= name then
    error("kgate: " .. path .. " does not describe " .. name .. ": " .. (why or "another plugin"))
  end
  return list[1]
end

--- The schema table of a plugin. Consumers are refused: none is known yet where the gate plugins run.
function M.schema(name)
  local fields = {
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
  }
  for _, field in ipairs(read_info(name).Schema.fields) do
    local key = next(field)
    if key ~= "consumer" and key ~= "protocols" then
      fields[#fields + 1] = field
    end
  end
  return { name = name, fields = fields }
end

return M
