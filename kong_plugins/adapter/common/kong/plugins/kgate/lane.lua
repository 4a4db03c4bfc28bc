--- Which lane this Kong was started with: in the express lane the four gate plugins are our Lua plugins.

local pcall, require, type = pcall, require, type

local M = {}

local express -- nil until the first request: nothing can change it while the worker lives

function M.is_express()
  if express == nil then
    local ok, handler = pcall(require, "kong.plugins.passport.handler")
    express = ok and type(handler) == "table" and handler.kgate_express == true
  end
  return express
end

return M
