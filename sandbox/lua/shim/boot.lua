-- Builds the Lua side: globals as in a Kong worker, then the modules that plugins require.
local py, null, path = ...

package.path = path
rawset(_G, "ngx_null", null)
require("shim.state").py = py
local json = require "shim.cjson"
rawset(_G, "ngx", require "shim.ngx")
rawset(_G, "kong", require "shim.kong")
rawset(_G, "_KONG", { _NAME = "kong", _VERSION = "3.9.3" })

package.preload["cjson"] = function() return json.strict end
package.preload["cjson.safe"] = function() return json.safe end
package.preload["kong.tools.cjson"] = function() return json.safe end
package.preload["resty.lrucache"] = function() return require "shim.lrucache" end
package.preload["kong.db.schema.typedefs"] = function() return require "shim.typedefs" end
package.preload["ngx.semaphore"] = function() return require("shim.thread").semaphore end
package.preload["kong.meta"] = function() return { version = "3.9.3" } end
package.preload["table.isempty"] = function() return function(t) return next(t) == nil end end
package.preload["table.nkeys"] = function()
  return function(t)
    local n = 0
    for _ in pairs(t) do n = n + 1 end
    return n
  end
end
package.preload["table.clone"] = function()
  return function(t)
    local copy = {}
    for k, v in pairs(t) do copy[k] = v end
    return setmetatable(copy, getmetatable(t))
  end
end

return require "shim.runloop", json.safe.array_mt, json.safe.empty_array_mt
