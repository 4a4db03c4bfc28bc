-- A plugin for tests: does what its config says, in the phase it says.
local H = { PRIORITY = 1500, VERSION = "1" }
local function run(conf, phase)
  local code = conf[phase]
  if not code then return end
  local f = assert(loadstring(code, "=" .. phase))
  return f(conf)
end
for _, phase in ipairs { "init_worker", "rewrite", "access", "header_filter", "log" } do
  H[phase] = function(_, conf) if conf then return run(conf, phase) end end
end
local access = H.access

-- What each configuration told, and `access` again, which a config's code may have taken away.
H.told = {}
function H.configure(_, confs)
  local scopes = {}
  for i, conf in ipairs(confs or {}) do
    scopes[i] = conf.consumer_id and "consumer" or conf.route_id and "route" or conf.service_id and "service" or "global"
  end
  table.sort(scopes)
  H.told[#H.told + 1] = confs and table.concat(scopes, " ") or "nil"
  H.access = access
end
return H
