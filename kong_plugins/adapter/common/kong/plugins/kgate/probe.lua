--- Answers GET /.kgate/probe with a hash of the adapter's config: whoever changes Kong sees by it whether this
-- worker has the adapter, and which config of it. It tells nothing else.

local setmetatable, concat = setmetatable, table.concat
local ngx, kong = ngx, kong

local M = { PATH = "/.kgate/probe" }

local hashes = setmetatable({}, { __mode = "k" }) -- config -> hash; weak: gone with the config

--- md5 of `SOCKET\nNAME,NAME,...`, the socket and the names of the headers to strip, as decl/probe.py makes it.
function M.hash(conf)
  local hash = hashes[conf]
  if not hash then
    hash = ngx.md5(conf.socket .. "\n" .. concat(conf.strip, ","))
    hashes[conf] = hash
  end
  return hash
end

function M.answer(conf)
  return kong.response.exit(200, '{"config":"' .. M.hash(conf) .. '"}', {
    ["Content-Type"] = "application/json",
    ["Cache-Control"] = "no-store",
  })
end

return M
